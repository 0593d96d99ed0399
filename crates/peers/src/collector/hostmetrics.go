// Runs the Collector's host metrics receiver and prints the metrics of one of its scrapes.
package main

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

// The arguments are the settings as JSON, and which scrape is wanted, from 1.
func run() ([]byte, error) {
	ctx := context.Background()
	factory := hostmetricsreceiver.NewFactory()
	wanted, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return nil, err
	}
	config, err := configure(factory.CreateDefaultConfig())
	if err != nil {
		return nil, err
	}
	sink := new(consumertest.MetricsSink)
	receiver, err := factory.CreateMetrics(ctx, receivertest.NewNopSettings(factory.Type()), config, sink)
	if err != nil {
		return nil, err
	}
	if err := receiver.Start(ctx, componenttest.NewNopHost()); err != nil {
		return nil, err
	}
	for len(sink.AllMetrics()) < wanted {
		time.Sleep(time.Millisecond)
	}
	return (&pmetric.ProtoMarshaler{}).MarshalMetrics(sink.AllMetrics()[wanted-1])
}
