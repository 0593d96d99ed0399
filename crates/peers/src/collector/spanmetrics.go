// Runs the Collector's spanmetrics connector over traces from standard input and prints the metrics it makes.
package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/spanmetricsconnector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func run() ([]byte, error) {
	ctx := context.Background()
	factory := spanmetricsconnector.NewFactory()
	config, err := configure(factory.CreateDefaultConfig())
	if err != nil {
		return nil, err
	}
	sink := new(consumertest.MetricsSink)
	connector, err := factory.CreateTracesToMetrics(ctx, connectortest.NewNopSettings(factory.Type()), config, sink)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	traces, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(body)
	if err != nil {
		return nil, err
	}
	if err := connector.ConsumeTraces(ctx, traces); err != nil {
		return nil, err
	}
	if err := connector.Start(ctx, nil); err != nil {
		return nil, err
	}
	// The first cumulative point of a count is zero.
	flushes := 1
	if config.(*spanmetricsconnector.Config).GetAggregationTemporality() == pmetric.AggregationTemporalityCumulative {
		flushes = 2
	}
	for len(sink.AllMetrics()) < flushes {
		time.Sleep(5 * time.Millisecond)
	}
	return (&pmetric.ProtoMarshaler{}).MarshalMetrics(sink.AllMetrics()[flushes-1])
}
