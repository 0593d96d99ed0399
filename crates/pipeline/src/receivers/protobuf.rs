//! Reading protobuf that nobody has validated: field by field, without copies. Owns the wire format and its errors;
//! what fields mean is of those that read them.

/// Bytes that are not a protobuf message, or not the one that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtobufError {
    #[error("the message breaks off")]
    Truncated,
    #[error("a varint is longer than ten bytes")]
    Varint,
    #[error("field {0} has a wire type that does not exist")]
    WireType(u32),
    #[error("field {0} does not have the expected type")]
    Type(u32),
    #[error("field {0} is not valid UTF-8")]
    Utf8(u32),
    #[error("field {0} is repeated too often")]
    TooMany(u32),
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
}

/// The fields of a message, in their order. Ends after the first error.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    fn field(&mut self) -> Result<Field<'a>, ProtobufError> {
        let key = varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).map_err(|_| ProtobufError::Varint)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            2 => {
                let length =
                    usize::try_from(varint(&mut self.rest)?).map_err(|_| ProtobufError::Truncated)?;
                let (bytes, rest) = self
                    .rest
                    .split_at_checked(length)
                    .ok_or(ProtobufError::Truncated)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            _ => return Err(ProtobufError::WireType(number)),
        };
        Ok(Field { number, value })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(ProtobufError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Field<'a> {
    fn wrong<T>(&self) -> Result<T, ProtobufError> {
        Err(ProtobufError::Type(self.number))
    }

    pub(crate) fn bytes(&self) -> Result<&'a [u8], ProtobufError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => self.wrong(),
        }
    }

    pub(crate) fn text(&self) -> Result<&'a str, ProtobufError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| ProtobufError::Utf8(self.number))
    }

    pub(crate) fn uint(&self) -> Result<u64, ProtobufError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => self.wrong(),
        }
    }

    pub(crate) fn int(&self) -> Result<i64, ProtobufError> {
        self.uint().map(|value| value as i64)
    }

    pub(crate) fn sint(&self) -> Result<i64, ProtobufError> {
        self.uint().map(zigzag)
    }

    pub(crate) fn fixed64(&self) -> Result<u64, ProtobufError> {
        match self.value {
            Value::Fixed64(value) => Ok(value),
            _ => self.wrong(),
        }
    }

    pub(crate) fn double(&self) -> Result<f64, ProtobufError> {
        self.fixed64().map(f64::from_bits)
    }

    /// Adds repeated varints, packed or not.
    pub(crate) fn uints(&self, into: &mut Vec<u64>) -> Result<(), ProtobufError> {
        match self.value {
            Value::Varint(value) => into.push(value),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    into.push(varint(&mut packed)?);
                }
            }
            _ => return self.wrong(),
        }
        Ok(())
    }

    /// Adds repeated doubles, packed or not.
    pub(crate) fn doubles(&self, into: &mut Vec<f64>) -> Result<(), ProtobufError> {
        match self.value {
            Value::Fixed64(value) => into.push(f64::from_bits(value)),
            Value::Bytes(packed) => {
                let (chunks, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(ProtobufError::Truncated);
                }
                into.extend(chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)));
            }
            _ => return self.wrong(),
        }
        Ok(())
    }
}

pub(crate) fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn varint(rest: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut value = 0;
    for index in 0..10 {
        let (byte, after) = rest.split_first().ok_or(ProtobufError::Truncated)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Varint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_errors_end_them() {
        let message = [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1a, 0x05, 0x00];
        let fields: Vec<_> = Fields::new(&message).collect();
        assert_eq!(fields.len(), 3);
        assert_eq!(fields[0].unwrap().uint(), Ok(150));
        assert_eq!(fields[1].unwrap().text(), Ok("hi"));
        assert_eq!(fields[2], Err(ProtobufError::Truncated));
        assert_eq!(zigzag(1), -1);
        assert_eq!(zigzag(u64::MAX), i64::MIN);
    }
}
