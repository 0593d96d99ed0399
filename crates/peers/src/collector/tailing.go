// Runs the Collector's filelog or syslog receiver until it has received enough records or time is over, and prints them.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/syslogreceiver"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

// The arguments are settings as JSON, the kind of receiver, the number of records to wait for, and for how long at most.
func run() ([]byte, error) {
	ctx := context.Background()
	var factory receiver.Factory
	switch os.Args[2] {
	case "filelog":
		factory = filelogreceiver.NewFactory()
	case "syslog":
		factory = syslogreceiver.NewFactory()
	default:
		return nil, fmt.Errorf("no receiver %q", os.Args[2])
	}
	wanted, err := strconv.Atoi(os.Args[3])
	if err != nil {
		return nil, err
	}
	limit, err := time.ParseDuration(os.Args[4])
	if err != nil {
		return nil, err
	}
	config, err := configure(factory.CreateDefaultConfig())
	if err != nil {
		return nil, err
	}
	sink := new(consumertest.LogsSink)
	logs, err := factory.CreateLogs(ctx, receivertest.NewNopSettings(factory.Type()), config, sink)
	if err != nil {
		return nil, err
	}
	if err := logs.Start(ctx, componenttest.NewNopHost()); err != nil {
		return nil, err
	}
	for end := time.Now().Add(limit); sink.LogRecordCount() < wanted && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if err := logs.Shutdown(ctx); err != nil {
		return nil, err
	}
	all := plog.NewLogs()
	for _, batch := range sink.AllLogs() {
		batch.ResourceLogs().MoveAndAppendTo(all.ResourceLogs())
	}
	return (&plog.ProtoMarshaler{}).MarshalLogs(all)
}
