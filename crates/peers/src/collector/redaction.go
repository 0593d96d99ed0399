package main

import (
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/redactionprocessor"
	"go.opentelemetry.io/collector/processor"
)

var factories = map[string]processor.Factory{"redaction": redactionprocessor.NewFactory()}
