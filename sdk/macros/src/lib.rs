//! The attributes `otel_trace` and `otel_log` of `cupola-sdk`, which re-exports and documents them. Owns what they take and what
//! they make of a function. What they make needs nothing but `cupola_sdk`, under that name.

mod function;
mod log;
mod options;
mod trace;

use proc_macro::TokenStream;

/// Records each call of a function as a span: see the documentation of `cupola_sdk::otel_trace`.
#[proc_macro_attribute]
pub fn otel_trace(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(options.into(), item, trace::expand)
}

/// Records each call of a function as a log record: see the documentation of `cupola_sdk::otel_log`.
#[proc_macro_attribute]
pub fn otel_log(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(options.into(), item, log::expand)
}

type Expand = fn(proc_macro2::TokenStream, function::Function) -> syn::Result<proc_macro2::TokenStream>;

fn expand(options: proc_macro2::TokenStream, item: TokenStream, with: Expand) -> TokenStream {
    let unchanged = proc_macro2::TokenStream::from(item.clone());
    let expanded = syn::parse(item).and_then(|function| with(options, function));
    let tokens = expanded.unwrap_or_else(|error| {
        // The function as well: otherwise every call of it would be another error.
        let error = error.into_compile_error();
        quote::quote! { #error #unchanged }
    });
    tokens.into()
}
