// Runs the Collector's host metrics receiver and prints the metrics of one of its scrapes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The arguments are the settings as JSON, and which scrape is wanted, from 1.
func run() error {
	ctx := context.Background()
	factory := hostmetricsreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	settings := map[string]any{}
	if err := json.Unmarshal([]byte(os.Args[1]), &settings); err != nil {
		return err
	}
	wanted, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	if err := confmap.NewFromStringMap(settings).Unmarshal(config); err != nil {
		return err
	}
	sink := new(consumertest.MetricsSink)
	receiver, err := factory.CreateMetrics(ctx, receivertest.NewNopSettings(factory.Type()), config, sink)
	if err != nil {
		return err
	}
	if err := receiver.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	for len(sink.AllMetrics()) < wanted {
		time.Sleep(time.Millisecond)
	}
	out, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(sink.AllMetrics()[wanted-1])
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(out)
	return err
}
