// Runs the Collector's k8s attributes processor over one batch of logs from standard input and prints what it makes of it.
package main

import (
	"context"
	"io"
	"os"

	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/k8sattributesprocessor"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor/processortest"
)

// The argument is the settings as JSON; the API server is that of the file that KUBECONFIG names.
func run() ([]byte, error) {
	ctx := context.Background()
	factory := k8sattributesprocessor.NewFactory()
	config, err := configure(factory.CreateDefaultConfig())
	if err != nil {
		return nil, err
	}
	sink := new(consumertest.LogsSink)
	processor, err := factory.CreateLogs(ctx, processortest.NewNopSettings(factory.Type()), config, sink)
	if err != nil {
		return nil, err
	}
	if err := processor.Start(ctx, componenttest.NewNopHost()); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(body)
	if err != nil {
		return nil, err
	}
	if err := processor.ConsumeLogs(ctx, logs); err != nil {
		return nil, err
	}
	return (&plog.ProtoMarshaler{}).MarshalLogs(sink.AllLogs()[0])
}
