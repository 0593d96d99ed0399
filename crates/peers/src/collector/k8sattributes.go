// Runs the Collector's k8s attributes processor over one batch of logs from standard input and prints what it makes of it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/k8sattributesprocessor"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The argument is the settings as JSON; the API server is that of the file that KUBECONFIG names.
func run() error {
	ctx := context.Background()
	factory := k8sattributesprocessor.NewFactory()
	config := factory.CreateDefaultConfig()
	settings := map[string]any{}
	if err := json.Unmarshal([]byte(os.Args[1]), &settings); err != nil {
		return err
	}
	if err := confmap.NewFromStringMap(settings).Unmarshal(config); err != nil {
		return err
	}
	sink := new(consumertest.LogsSink)
	processor, err := factory.CreateLogs(ctx, processortest.NewNopSettings(factory.Type()), config, sink)
	if err != nil {
		return err
	}
	if err := processor.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(body)
	if err != nil {
		return err
	}
	if err := processor.ConsumeLogs(ctx, logs); err != nil {
		return err
	}
	out, err := (&plog.ProtoMarshaler{}).MarshalLogs(sink.AllLogs()[0])
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(out)
	return err
}
