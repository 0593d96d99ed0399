//! `opentelemetry.proto.common.v1` and `resource.v1`.

use super::{Message, fields};

pub(crate) static ANY_VALUE: Message = Message::new(fields![
    1 "string_value" "stringValue" String Oneof,
    2 "bool_value" "boolValue" Bool Oneof,
    3 "int_value" "intValue" Int64 Oneof,
    4 "double_value" "doubleValue" Double Oneof,
    5 "array_value" "arrayValue" Message(&ARRAY_VALUE) Oneof,
    6 "kvlist_value" "kvlistValue" Message(&KEY_VALUE_LIST) Oneof,
    7 "bytes_value" "bytesValue" Bytes Oneof,
    8 "string_value_strindex" "stringValueStrindex" Int32 Oneof,
]);

static ARRAY_VALUE: Message = Message::new(fields![1 "values" "values" Message(&ANY_VALUE) Repeated]);

static KEY_VALUE_LIST: Message = Message::new(fields![1 "values" "values" Message(&KEY_VALUE) Repeated]);

pub(crate) static KEY_VALUE: Message = Message::new(fields![
    1 "key" "key" String Singular,
    2 "value" "value" Message(&ANY_VALUE) Singular,
    3 "key_strindex" "keyStrindex" Int32 Singular,
]);

pub(super) static RESOURCE: Message = Message::new(fields![
    1 "attributes" "attributes" Message(&KEY_VALUE) Repeated,
    2 "dropped_attributes_count" "droppedAttributesCount" Uint32 Singular,
    3 "entity_refs" "entityRefs" Message(&ENTITY_REF) Repeated,
]);

static ENTITY_REF: Message = Message::new(fields![
    1 "schema_url" "schemaUrl" String Singular,
    2 "type" "type" String Singular,
    3 "id_keys" "idKeys" String Repeated,
    4 "description_keys" "descriptionKeys" String Repeated,
]);

pub(super) static SCOPE: Message = Message::new(fields![
    1 "name" "name" String Singular,
    2 "version" "version" String Singular,
    3 "attributes" "attributes" Message(&KEY_VALUE) Repeated,
    4 "dropped_attributes_count" "droppedAttributesCount" Uint32 Singular,
]);
