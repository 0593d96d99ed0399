// What the programs beside this file have in common: each has a function `run`.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"go.opentelemetry.io/collector/confmap"
)

// Prints what `run` gives, or what went wrong with it.
func main() {
	out, err := run()
	if err == nil {
		_, err = os.Stdout.Write(out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Reads the first argument, settings as JSON, into the default ones.
func configure[C any](config C) (C, error) {
	settings := map[string]any{}
	if err := json.Unmarshal([]byte(os.Args[1]), &settings); err != nil {
		return config, err
	}
	return config, confmap.NewFromStringMap(settings).Unmarshal(config)
}
