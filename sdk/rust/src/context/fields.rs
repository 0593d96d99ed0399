//! [`with_context!`](crate::with_context): attributes for everything that is recorded inside, said as fields of `tracing` are.

use std::fmt::{Debug, Display};

use cupola_sdk_core::value::Value;

use super::Context;

/// What can be the value of a field without `%` or `?`.
pub trait FieldValue {
    /// Hands it over as a value of an attribute; not at all if there is none.
    fn with_value(&self, with: &mut dyn FnMut(Value<'_>));
}

macro_rules! field_value {
    ($($type:ty),*) => {
        $(impl FieldValue for $type {
            fn with_value(&self, with: &mut dyn FnMut(Value<'_>)) {
                with(Value::from(*self));
            }
        })*
    };
}

field_value!(&str, bool, i64, i32, u32, u16, u8, f64, f32);

macro_rules! wide_field_value {
    ($($type:ty),*) => {
        $(impl FieldValue for $type {
            /// As text where OTLP has no number of that size.
            fn with_value(&self, with: &mut dyn FnMut(Value<'_>)) {
                match i64::try_from(*self) {
                    Ok(number) => with(Value::Int(number)),
                    Err(_) => with(Value::String(&self.to_string())),
                }
            }
        })*
    };
}

wide_field_value!(u64, usize, isize, u128, i128);

impl FieldValue for i16 {
    fn with_value(&self, with: &mut dyn FnMut(Value<'_>)) {
        with(Value::Int(i64::from(*self)));
    }
}

impl FieldValue for i8 {
    fn with_value(&self, with: &mut dyn FnMut(Value<'_>)) {
        with(Value::Int(i64::from(*self)));
    }
}

impl FieldValue for String {
    fn with_value(&self, with: &mut dyn FnMut(Value<'_>)) {
        with(Value::String(self));
    }
}

impl<T: FieldValue + ?Sized> FieldValue for &T {
    fn with_value(&self, with: &mut dyn FnMut(Value<'_>)) {
        (**self).with_value(with);
    }
}

impl<T: FieldValue> FieldValue for Option<T> {
    fn with_value(&self, with: &mut dyn FnMut(Value<'_>)) {
        if let Some(value) = self {
            value.with_value(with);
        }
    }
}

/// What the macro is made of.
#[doc(hidden)]
impl Context {
    #[must_use]
    pub fn __field(self, name: &str, value: &dyn FieldValue, is_propagated: bool) -> Context {
        let mut context = Some(self);
        value.with_value(&mut |value| {
            context = context.take().map(|context| match (is_propagated, value) {
                (false, value) => context.with_attribute(name, value),
                (true, Value::String(text)) => context.propagated(name, text, value),
                (true, Value::Bool(truth)) => context.propagated(name, &truth.to_string(), value),
                (true, Value::Int(number)) => context.propagated(name, &number.to_string(), value),
                (true, Value::Double(number)) => context.propagated(name, &number.to_string(), value),
                (true, value) => context.with_attribute(name, value),
            });
        });
        context.unwrap_or_default()
    }

    #[must_use]
    pub fn __display(self, name: &str, value: &dyn Display, is_propagated: bool) -> Context {
        self.__field(name, &value.to_string(), is_propagated)
    }

    #[must_use]
    pub fn __debug(self, name: &str, value: &dyn Debug, is_propagated: bool) -> Context {
        self.__field(name, &format!("{value:?}"), is_propagated)
    }

    /// Also in the baggage, if it can be there.
    fn propagated(self, name: &str, text: &str, value: Value<'_>) -> Context {
        match self.baggage.with(name, text) {
            Ok(baggage) => self.with_baggage(baggage).with_attribute(name, value),
            Err(_) => self.with_attribute(name, value),
        }
    }
}

/// Gives everything that is recorded inside these attributes: spans and log records, of whoever makes them.
///
/// Fields are written as those of `tracing`: `name = value`, `name = %display`, `name = ?debug`. They stay in the process,
/// unless `propagated` stands before them: then they are in the baggage too, and go along with requests to other services.
///
/// ```
/// # fn work(_: u32) {}
/// # async fn wait() {}
/// # let (id, user) = (7, "alice");
/// use cupola_sdk::with_context;
///
/// // Around a block, in which `return` and `?` are those of the function around it.
/// let done = with_context!(task.id = id, propagated user.id = %user => {
///     work(id);
///     true
/// });
/// # assert!(done);
///
/// // Around a future, whatever thread polls it.
/// let future = with_context!(task.id = id => async move { wait().await });
/// # drop(future);
///
/// // As a value, to be attached, or for `future.in_context(context)`.
/// let context = with_context!(task.id = id);
/// context.run(|| work(id));
/// ```
#[macro_export]
macro_rules! with_context {
    (@fields $context:expr ;) => { $context };
    (@fields $context:expr ; , $($rest:tt)*) => { $crate::with_context!(@fields $context ; $($rest)*) };
    (@fields $context:expr ; => $($rest:tt)*) => { $crate::with_context!(@run $context ; $($rest)*) };
    (@fields $context:expr ; propagated $($name:ident).+ = $($rest:tt)*) => {
        $crate::with_context!(@value $context ; (stringify!($($name).+)) true ; $($rest)*)
    };
    (@fields $context:expr ; propagated $name:literal = $($rest:tt)*) => {
        $crate::with_context!(@value $context ; ($name) true ; $($rest)*)
    };
    (@fields $context:expr ; $($name:ident).+ = $($rest:tt)*) => {
        $crate::with_context!(@value $context ; (stringify!($($name).+)) false ; $($rest)*)
    };
    (@fields $context:expr ; $name:literal = $($rest:tt)*) => {
        $crate::with_context!(@value $context ; ($name) false ; $($rest)*)
    };
    (@value $context:expr ; ($name:expr) $propagated:tt ; % $value:expr $(, $($rest:tt)*)?) => {
        $crate::with_context!(@fields $context.__display($name, &$value, $propagated) ; $($($rest)*)?)
    };
    (@value $context:expr ; ($name:expr) $propagated:tt ; ? $value:expr $(, $($rest:tt)*)?) => {
        $crate::with_context!(@fields $context.__debug($name, &$value, $propagated) ; $($($rest)*)?)
    };
    (@value $context:expr ; ($name:expr) $propagated:tt ; $value:expr $(, $($rest:tt)*)?) => {
        $crate::with_context!(@fields $context.__field($name, &$value, $propagated) ; $($($rest)*)?)
    };
    (@value $context:expr ; ($name:expr) $propagated:tt ; % $value:expr => $($rest:tt)*) => {
        $crate::with_context!(@run $context.__display($name, &$value, $propagated) ; $($rest)*)
    };
    (@value $context:expr ; ($name:expr) $propagated:tt ; ? $value:expr => $($rest:tt)*) => {
        $crate::with_context!(@run $context.__debug($name, &$value, $propagated) ; $($rest)*)
    };
    (@value $context:expr ; ($name:expr) $propagated:tt ; $value:expr => $($rest:tt)*) => {
        $crate::with_context!(@run $context.__field($name, &$value, $propagated) ; $($rest)*)
    };
    (@run $context:expr ; async move $body:block) => {
        $crate::InContext::in_context(async move $body, $context)
    };
    (@run $context:expr ; async $body:block) => {
        $crate::InContext::in_context(async $body, $context)
    };
    (@run $context:expr ; $body:expr) => {{
        let _attached = $context.attach();
        $body
    }};
    ($($fields:tt)*) => { $crate::with_context!(@fields $crate::Context::current() ; $($fields)*) };
}
