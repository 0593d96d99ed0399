//! The records of a batch as NDJSON, one flat object a line: what people keep in files today, for comparing sizes.

use std::io::{Result, Write};

use cupola_telemetry::json::{write_plain, write_string};
use cupola_telemetry::view::{Attributes, LogsData, MetricData, MetricsData, TracesData};
use cupola_telemetry::{Batch, Signal};

/// Writes one line for each log record, span or data point.
pub fn write(batch: &Batch, out: &mut impl Write) -> Result<()> {
    match batch.signal() {
        Signal::Logs => logs(batch.payload(), out),
        Signal::Traces => spans(batch.payload(), out),
        Signal::Metrics => points(batch.payload(), out),
    }
}

fn logs(payload: &[u8], out: &mut impl Write) -> Result<()> {
    let mut line = String::new();
    for resource in LogsData::new(payload).resources() {
        for scope in resource.scopes() {
            for record in scope.records() {
                line.clear();
                let mut object = Object::open(&mut line);
                object.number("timestamp", record.time_unix_nano);
                object.number("observed_timestamp", record.observed_time_unix_nano);
                object.number("severity_number", record.severity_number as u64);
                object.text("severity_text", record.severity_text);
                object.key("body");
                if let Some(body) = record.body {
                    write_plain(object.out, body);
                } else {
                    object.out.push_str("null");
                }
                object.hex("trace_id", record.trace_id);
                object.hex("span_id", record.span_id);
                object.text("scope", scope.scope().name);
                object.attributes("resource", resource.resource().attributes);
                object.attributes("attributes", record.attributes);
                object.close();
                out.write_all(line.as_bytes())?;
            }
        }
    }
    Ok(())
}

fn spans(payload: &[u8], out: &mut impl Write) -> Result<()> {
    let mut line = String::new();
    for resource in TracesData::new(payload).resources() {
        for scope in resource.scopes() {
            for span in scope.spans() {
                line.clear();
                let mut object = Object::open(&mut line);
                object.hex("trace_id", span.trace_id);
                object.hex("span_id", span.span_id);
                object.hex("parent_span_id", span.parent_span_id);
                object.text("name", span.name);
                object.number("kind", span.kind as u64);
                object.number("start", span.start_time_unix_nano);
                object.number("end", span.end_time_unix_nano);
                object.number("status", span.status.map_or(0, |status| status.code as u64));
                object.text("scope", scope.scope().name);
                object.attributes("resource", resource.resource().attributes);
                object.attributes("attributes", span.attributes);
                object.key("events");
                object.out.push('[');
                for (index, event) in span.events.iter().enumerate() {
                    if index > 0 {
                        object.out.push(',');
                    }
                    let mut inner = Object::open(object.out);
                    inner.text("name", event.name);
                    inner.number("time", event.time_unix_nano);
                    inner.attributes("attributes", event.attributes);
                    inner.out.push('}');
                }
                object.out.push(']');
                object.key("links");
                object.out.push('[');
                for (index, link) in span.links.iter().enumerate() {
                    if index > 0 {
                        object.out.push(',');
                    }
                    let mut inner = Object::open(object.out);
                    inner.hex("trace_id", link.trace_id);
                    inner.hex("span_id", link.span_id);
                    inner.attributes("attributes", link.attributes);
                    inner.out.push('}');
                }
                object.out.push(']');
                object.close();
                out.write_all(line.as_bytes())?;
            }
        }
    }
    Ok(())
}

fn points(payload: &[u8], out: &mut impl Write) -> Result<()> {
    let mut line = String::new();
    for resource in MetricsData::new(payload).resources() {
        for scope in resource.scopes() {
            for metric in scope.metrics() {
                let Some(data) = metric.data() else { continue };
                let mut point = |fill: &mut dyn FnMut(&mut Object<'_>), attributes: Attributes<'_>| {
                    line.clear();
                    let mut object = Object::open(&mut line);
                    object.text("name", metric.name);
                    object.text("unit", metric.unit);
                    fill(&mut object);
                    object.attributes("resource", resource.resource().attributes);
                    object.attributes("attributes", attributes);
                    object.close();
                    out.write_all(line.as_bytes())
                };
                each_point(data, &mut point)?;
            }
        }
    }
    Ok(())
}

type Fill<'f> = &'f mut dyn FnMut(&mut Object<'_>);

fn each_point(
    data: MetricData<'_>,
    point: &mut dyn FnMut(Fill<'_>, Attributes<'_>) -> Result<()>,
) -> Result<()> {
    match data {
        MetricData::Gauge(points) | MetricData::Sum { points, .. } => points.iter().try_for_each(|of| {
            let mut fill = |object: &mut Object<'_>| {
                object.number("timestamp", of.time_unix_nano);
                object.double("value", of.value.map_or(0.0, |value| value.as_f64()));
            };
            point(&mut fill, of.attributes)
        }),
        MetricData::Histogram { points, .. } => points.iter().try_for_each(|of| {
            let mut fill = |object: &mut Object<'_>| {
                object.number("timestamp", of.time_unix_nano);
                object.number("count", of.count);
                object.double("sum", of.sum.unwrap_or(0.0));
                object.list("buckets", of.bucket_counts.iter().map(|count| count as f64));
                object.list("bounds", of.explicit_bounds.iter());
            };
            point(&mut fill, of.attributes)
        }),
        MetricData::ExponentialHistogram { points, .. } => points.iter().try_for_each(|of| {
            let mut fill = |object: &mut Object<'_>| {
                object.number("timestamp", of.time_unix_nano);
                object.number("count", of.count);
                object.double("sum", of.sum.unwrap_or(0.0));
                object.double("scale", f64::from(of.scale));
                if let Some(positive) = of.positive {
                    object.double("offset", f64::from(positive.offset));
                    object.list("buckets", positive.bucket_counts.iter().map(|count| count as f64));
                }
            };
            point(&mut fill, of.attributes)
        }),
        MetricData::Summary(points) => points.iter().try_for_each(|of| {
            let mut fill = |object: &mut Object<'_>| {
                object.number("timestamp", of.time_unix_nano);
                object.number("count", of.count);
                object.double("sum", of.sum);
                object.list(
                    "quantiles",
                    of.quantile_values.iter().map(|quantile| quantile.value),
                );
            };
            point(&mut fill, of.attributes)
        }),
    }
}

/// A JSON object under construction.
struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    fn open(out: &'a mut String) -> Object<'a> {
        out.push('{');
        Object { out, first: true }
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        write_string(self.out, key);
        self.out.push(':');
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        self.out.push_str(&value.to_string());
    }

    fn double(&mut self, key: &str, value: f64) {
        self.key(key);
        self.out.push_str(&value.to_string());
    }

    fn list(&mut self, key: &str, values: impl Iterator<Item = f64>) {
        self.key(key);
        self.out.push('[');
        for (index, value) in values.enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.out.push_str(&value.to_string());
        }
        self.out.push(']');
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        write_string(self.out, value);
    }

    fn hex(&mut self, key: &str, id: &[u8]) {
        self.key(key);
        self.out.push('"');
        for byte in id {
            for digit in [byte >> 4, byte & 15] {
                self.out
                    .push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        self.out.push('"');
    }

    fn attributes(&mut self, key: &str, attributes: Attributes<'_>) {
        self.key(key);
        let mut inner = Object::open(self.out);
        for attribute in attributes {
            inner.key(attribute.key);
            write_plain(inner.out, attribute.value);
        }
        inner.out.push('}');
    }

    fn close(self) {
        self.out.push_str("}\n");
    }
}
