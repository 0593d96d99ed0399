package main

import (
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/filterprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/transformprocessor"
	"go.opentelemetry.io/collector/processor"
)

var factories = map[string]processor.Factory{
	"filter":    filterprocessor.NewFactory(),
	"transform": transformprocessor.NewFactory(),
}
