//! A function whose calls are log records.

use proc_macro2::TokenStream;
use quote::quote;

use crate::function::Function;
use crate::options::{Level, Options};

const OPTIONS: &[&str] = &["level", "message", "correlation_id", "attributes"];

pub(crate) fn expand(options: TokenStream, function: Function) -> syn::Result<TokenStream> {
    let options: Options = syn::parse2(options)?;
    options.only("otel_log", OPTIONS)?;
    let level = Level::tokens(options.level.as_ref(), "info");
    let attributes = options.fields();
    let correlation = options
        .correlation_id
        .as_ref()
        .map(|id| quote!(correlation_id = %#id,));
    let message = match options.message.as_ref().or(options.name.as_ref()) {
        Some(message) => quote!(#message),
        None => {
            let message = function.signature.ident.to_string();
            quote!(#message)
        }
    };
    let statements = &function.block.stmts;
    Ok(function.with_body(quote! {
        ::cupola_sdk::__macros::tracing::event!(#level, #correlation #attributes #message);
        #(#statements)*
    }))
}
