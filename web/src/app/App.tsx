/** The shell: navigation, scope (tenant and range), and the view that the address names. */
import { Empty } from "../ui/States.tsx";
import { View } from "../ui/View.tsx";
import { Link, useLocation } from "../url/navigation.tsx";
import styles from "./App.module.css";
import { Boundary } from "./Boundary.tsx";
import { ScopeBar } from "./ScopeBar.tsx";
import { ThemeButton } from "./ThemeButton.tsx";
import { VIEWS, viewAt } from "./views.tsx";

export function App() {
  const location = useLocation();
  const view = viewAt(location.path);
  return (
    <>
      <a href="#main" className={styles.skip}>
        Skip to content
      </a>
      <header className={styles.bar}>
        <Link to={{ path: "/services" }} className={styles.brand}>
          <img src="/cupola.svg" alt="" width="22" height="22" />
          Cupola
        </Link>
        <nav aria-label="Views" className={styles.nav}>
          {VIEWS.map((entry) => (
            <Link
              key={entry.path}
              to={{ path: entry.path }}
              className={styles.link}
              aria-current={entry === view ? "page" : undefined}
            >
              {entry.title}
            </Link>
          ))}
        </nav>
        <ScopeBar />
        <ThemeButton />
      </header>
      <Boundary key={location.path}>{view ? <view.Component /> : <NotFound path={location.path} />}</Boundary>
    </>
  );
}

function NotFound({ path }: { readonly path: string }) {
  return (
    <View title="Not found">
      <Empty title={`There is no page at ${path}`}>
        <p>
          Go to <Link to={{ path: "/services" }}>Services</Link>.
        </p>
      </Empty>
    </View>
  );
}
