/**
 * How the page is built and tested. The output in `dist/` is embedded in the `cupola` binary, so it refers to
 * nothing outside itself.
 */
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds a running Cupola. */
const API = process.env["CUPOLA_URL"] ?? "http://127.0.0.1:4300";

export default defineConfig({
  plugins: [react()],
  server: { host: "127.0.0.1", proxy: { "/api": API } },
  build: {
    target: "es2022",
    // One style sheet and one script: the page is small and served from memory.
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
