//! What holds for any telemetry: canonical output, and agreement with the same edit of generated structs.

use std::time::Duration;

use cupola_generator::{Generator, GeneratorConfig};
use cupola_pipeline::ottl::{Conditions, Context};
use cupola_telemetry::{Batch, Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use proptest::prelude::*;
use prost::Message;

use super::{Still, changed};

fn generated(signal: Signal, seed: u64) -> Batch {
    let config = GeneratorConfig {
        seed,
        ..GeneratorConfig::default()
    }
    .spread(200, Duration::from_secs(60));
    let mut generator = Generator::new(config);
    generator.batch(signal, 200)
}

fn text(text: &str) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(any_value::Value::StringValue(text.to_owned())),
    })
}

fn set(attributes: &mut Vec<KeyValue>, key: &str, value: Option<AnyValue>) {
    match attributes.iter_mut().find(|pair| pair.key == key) {
        Some(pair) => pair.value = value,
        None => attributes.push(KeyValue {
            key: key.to_owned(),
            value,
            key_strindex: 0,
        }),
    }
}

fn rename(attributes: &mut Vec<KeyValue>, old: &str, new: &str) {
    let Some(pair) = attributes.iter().find(|pair| pair.key == old) else {
        return;
    };
    let value = pair.value.clone();
    set(attributes, new, value);
    attributes.retain(|pair| pair.key != old);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn logs_agree_with_the_same_edit_of_structs(seed: u64) {
        let batch = generated(Signal::Logs, seed);
        let edited = changed(&batch, Context::Log, &[
            "set(attributes[\"renamed\"], attributes[\"http.route\"]) where attributes[\"http.route\"] != nil",
            "delete_key(attributes, \"http.route\")",
            "set(attributes[\"level\"], \"high\") where severity_number >= SEVERITY_NUMBER_WARN",
            "set(severity_text, \"x\") where severity_number < SEVERITY_NUMBER_INFO",
            "set(resource.attributes[\"seen\"], \"yes\")",
        ]);
        let mut expected = ExportLogsServiceRequest::decode(batch.payload().clone()).unwrap();
        for resource in &mut expected.resource_logs {
            let records: Vec<_> = resource.scope_logs.iter_mut().flat_map(|scope| &mut scope.log_records).collect();
            for record in records {
                rename(&mut record.attributes, "http.route", "renamed");
                if record.severity_number >= 13 {
                    set(&mut record.attributes, "level", text("high"));
                }
                if record.severity_number < 9 {
                    record.severity_text = "x".to_owned();
                }
            }
            set(&mut resource.resource.get_or_insert_default().attributes, "seen", text("yes"));
        }
        let found = ExportLogsServiceRequest::decode(edited.payload().clone()).unwrap();
        prop_assert_eq!(found.encode_to_vec(), expected.encode_to_vec());
        prop_assert_eq!(edited.items(), batch.items());
    }

    #[test]
    fn filtering_agrees_with_the_same_filter_of_structs(seed: u64) {
        let batch = generated(Signal::Traces, seed);
        let condition = "kind == SPAN_KIND_CLIENT or status.code == STATUS_CODE_ERROR".to_owned();
        let conditions = Conditions::compile(Context::Span, &[condition]).unwrap();
        let left = conditions.drop_matching(&batch, &Still).unwrap().batch;
        let mut expected = ExportTraceServiceRequest::decode(batch.payload().clone()).unwrap();
        expected.resource_spans.retain_mut(|resource| {
            resource.scope_spans.retain_mut(|scope| {
                scope.spans.retain(|span| {
                    span.kind != 3 && span.status.as_ref().is_none_or(|status| status.code != 2)
                });
                !scope.spans.is_empty()
            });
            !resource.scope_spans.is_empty()
        });
        match left {
            None => prop_assert!(expected.resource_spans.is_empty()),
            Some(left) => {
                let found = ExportTraceServiceRequest::decode(left.payload().clone()).unwrap();
                prop_assert_eq!(found.encode_to_vec(), expected.encode_to_vec());
                let again = Batch::decode_protobuf(Signal::Traces, TenantId::default_tenant(), left.payload().clone());
                prop_assert_eq!(again.unwrap().items(), left.items());
            }
        }
    }

    /// No text makes the compiler panic, and every error can be drawn.
    #[test]
    fn any_text_is_compiled_or_refused(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "set", "(", ")", ",", "[", "]", "{", "}", "\"a\"", "\"", "1", "-", "+", ".5", "0xff", "0x", "==", "=", "not",
            "and", "where", "body", "attributes", ".", "log", "Concat", "IsMatch", "nil", "true", "é", "\\", " ", "\n",
            "resource", "SEVERITY_NUMBER_INFO", ":", "*", "/", "<", "cache", "delete_key", "keep_keys",
        ]), 0..40),
    ) {
        let text = pieces.concat();
        for context in Context::ALL {
            if let Err(errors) = Conditions::compile(context, std::slice::from_ref(&text)) {
                prop_assert!(errors[0].render().contains('^'));
            }
            if let Err(errors) = cupola_pipeline::ottl::Statements::compile(context, std::slice::from_ref(&text)) {
                prop_assert!(errors[0].render().contains('^'));
            }
        }
    }
}
