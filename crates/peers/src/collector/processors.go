// Runs processors of the Collector over batches from standard input, one line a case. Which there are is in another file.
//
// A case is {"processor", "signal", "config", "input"}, the input being base64 of encoded OTLP. An answer is {"output"},
// which is missing if nothing was left, or {"error", "stage"}, where the stage is "config", "run" or "panic". Answers are
// written in the order of the cases.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
)

type testCase struct {
	Processor string         `json:"processor"`
	Signal    string         `json:"signal"`
	Config    map[string]any `json:"config"`
	Input     []byte         `json:"input"`
}

type answer struct {
	Output []byte `json:"output,omitempty"`
	Error  string `json:"error,omitempty"`
	Stage  string `json:"stage,omitempty"`
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 64<<20)
	output := json.NewEncoder(os.Stdout)
	output.SetEscapeHTML(false)
	for input.Scan() {
		var one testCase
		if err := json.Unmarshal(input.Bytes(), &one); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := output.Encode(guarded(&one)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// What the reference panics at is an answer, and not the end of the other cases.
func guarded(one *testCase) (result answer) {
	defer func() {
		if reason := recover(); reason != nil {
			result = answer{Error: fmt.Sprint(reason), Stage: "panic"}
		}
	}()
	return run(one)
}

func run(one *testCase) answer {
	factory := factories[one.Processor]
	config := factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(one.Config).Unmarshal(config); err != nil {
		return answer{Error: err.Error(), Stage: "config"}
	}
	if err := confmap.Validate(config); err != nil {
		return answer{Error: err.Error(), Stage: "config"}
	}
	return consume(one, factory, config)
}

func consume(one *testCase, factory processor.Factory, config component.Config) answer {
	ctx, host := context.Background(), componenttest.NewNopHost()
	settings := processortest.NewNopSettings(factory.Type())
	failed := func(stage string, err error) answer { return answer{Error: err.Error(), Stage: stage} }
	done := func(output []byte, err error) answer {
		if err != nil {
			return failed("run", err)
		}
		return answer{Output: output}
	}
	switch one.Signal {
	case "traces":
		sink := new(consumertest.TracesSink)
		p, err := factory.CreateTraces(ctx, settings, config, sink)
		if err == nil {
			err = p.Start(ctx, host)
		}
		if err != nil {
			return failed("config", err)
		}
		data, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(one.Input)
		if err == nil {
			err = p.ConsumeTraces(ctx, data)
		}
		if err != nil || len(sink.AllTraces()) == 0 {
			return done(nil, err)
		}
		return done((&ptrace.ProtoMarshaler{}).MarshalTraces(sink.AllTraces()[0]))
	case "metrics":
		sink := new(consumertest.MetricsSink)
		p, err := factory.CreateMetrics(ctx, settings, config, sink)
		if err == nil {
			err = p.Start(ctx, host)
		}
		if err != nil {
			return failed("config", err)
		}
		data, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(one.Input)
		if err == nil {
			err = p.ConsumeMetrics(ctx, data)
		}
		if err != nil || len(sink.AllMetrics()) == 0 {
			return done(nil, err)
		}
		return done((&pmetric.ProtoMarshaler{}).MarshalMetrics(sink.AllMetrics()[0]))
	default:
		sink := new(consumertest.LogsSink)
		p, err := factory.CreateLogs(ctx, settings, config, sink)
		if err == nil {
			err = p.Start(ctx, host)
		}
		if err != nil {
			return failed("config", err)
		}
		data, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(one.Input)
		if err == nil {
			err = p.ConsumeLogs(ctx, data)
		}
		if err != nil || len(sink.AllLogs()) == 0 {
			return done(nil, err)
		}
		return done((&plog.ProtoMarshaler{}).MarshalLogs(sink.AllLogs()[0]))
	}
}
