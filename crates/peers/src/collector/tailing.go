// Runs the Collector's filelog or syslog receiver until it has received enough records or time is over, and prints them.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/syslogreceiver"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The kind of receiver, its settings in JSON, the number of records to wait for, and for how long at most.
func run() error {
	ctx := context.Background()
	var factory receiver.Factory
	switch os.Args[1] {
	case "filelog":
		factory = filelogreceiver.NewFactory()
	case "syslog":
		factory = syslogreceiver.NewFactory()
	default:
		return fmt.Errorf("no receiver %q", os.Args[1])
	}
	settings := map[string]any{}
	if err := json.Unmarshal([]byte(os.Args[2]), &settings); err != nil {
		return err
	}
	wanted, err := strconv.Atoi(os.Args[3])
	if err != nil {
		return err
	}
	limit, err := time.ParseDuration(os.Args[4])
	if err != nil {
		return err
	}
	config := factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(settings).Unmarshal(config); err != nil {
		return err
	}
	sink := new(consumertest.LogsSink)
	logs, err := factory.CreateLogs(ctx, receivertest.NewNopSettings(factory.Type()), config, sink)
	if err != nil {
		return err
	}
	if err := logs.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	for end := time.Now().Add(limit); sink.LogRecordCount() < wanted && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if err := logs.Shutdown(ctx); err != nil {
		return err
	}
	all := plog.NewLogs()
	for _, batch := range sink.AllLogs() {
		batch.ResourceLogs().MoveAndAppendTo(all.ResourceLogs())
	}
	out, err := (&plog.ProtoMarshaler{}).MarshalLogs(all)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(out)
	return err
}
