// Runs the Collector's spanmetrics connector over traces from standard input and prints the metrics it makes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/spanmetricsconnector"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx := context.Background()
	factory := spanmetricsconnector.NewFactory()
	config := factory.CreateDefaultConfig()
	settings := map[string]any{}
	if err := json.Unmarshal([]byte(os.Args[1]), &settings); err != nil {
		return err
	}
	if err := confmap.NewFromStringMap(settings).Unmarshal(config); err != nil {
		return err
	}
	sink := new(consumertest.MetricsSink)
	connector, err := factory.CreateTracesToMetrics(ctx, connectortest.NewNopSettings(factory.Type()), config, sink)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	traces, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(body)
	if err != nil {
		return err
	}
	if err := connector.ConsumeTraces(ctx, traces); err != nil {
		return err
	}
	if err := connector.Start(ctx, nil); err != nil {
		return err
	}
	// The first cumulative point of a count is zero.
	flushes := 1
	if config.(*spanmetricsconnector.Config).GetAggregationTemporality() == pmetric.AggregationTemporalityCumulative {
		flushes = 2
	}
	for len(sink.AllMetrics()) < flushes {
		time.Sleep(5 * time.Millisecond)
	}
	out, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(sink.AllMetrics()[flushes-1])
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(out)
	return err
}
