//! A function whose calls are spans.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;

use crate::function::Function;
use crate::options::{Level, Options};

const OPTIONS: &[&str] = &[
    "name",
    "level",
    "kind",
    "args",
    "skip",
    "max_length",
    "result",
    "errors",
    "correlation_id",
    "attributes",
];
/// Longest text of an argument or result, in characters.
const LENGTH_MAX: usize = 256;

pub(crate) fn expand(options: TokenStream, function: Function) -> syn::Result<TokenStream> {
    let options: Options = syn::parse2(options)?;
    options.only("otel_trace", OPTIONS)?;
    let span = span(&options, &function)?;
    let done = done(&options, &function)?;
    let statements = &function.block.stmts;
    let context = context(&options);
    let typed = function.result_type().map(|returned| quote!(-> #returned));
    let body = match function.is_async() {
        true => {
            let returned = function.result_type().map(|returned| quote!(: #returned));
            quote! {
                let __cupola_context = #context;
                let __cupola_span = __cupola_context.clone().run(|| #span);
                let __cupola_within = __cupola_span.clone();
                ::cupola_sdk::__macros::in_span(__cupola_context, __cupola_span, async move {
                    let __cupola_result #returned = async move { #(#statements)* }.await;
                    #done
                    __cupola_result
                })
                .await
            }
        }
        false => quote! {
            let __cupola_context = #context;
            let _cupola_attached = __cupola_context.attach();
            let __cupola_within = #span;
            let _cupola_entered = __cupola_within.clone().entered();
            let __cupola_result = ::cupola_sdk::__macros::call(move || #typed { #(#statements)* });
            #done
            __cupola_result
        },
    };
    Ok(function.with_body(body))
}

/// The context of the call: of now, and with the correlation id if there is one.
fn context(options: &Options) -> TokenStream {
    let current = quote!(::cupola_sdk::Context::current());
    match &options.correlation_id {
        None => current,
        Some(id) => quote!(::cupola_sdk::__macros::correlated(#current, &#id)),
    }
}

fn span(options: &Options, function: &Function) -> syn::Result<TokenStream> {
    let name = match &options.name {
        Some(name) => quote!(#name),
        None => {
            let name = function.signature.ident.to_string();
            quote!(#name)
        }
    };
    let level = Level::tokens(options.level.as_ref(), "info");
    let own = function.signature.ident.to_string();
    let kind = options.kind.as_ref().map(|kind| quote!(otel.kind = #kind,));
    let attributes = options.fields();
    let arguments = arguments(options, function)?;
    let result = options
        .result
        .then(|| quote!(result = ::cupola_sdk::__macros::tracing::field::Empty,));
    Ok(quote! {
        ::cupola_sdk::__macros::tracing::span!(
            #level,
            #name,
            code.function.name = concat!(module_path!(), "::", #own),
            #kind
            #attributes
            #(#arguments)*
            #result
            otel.status_code = ::cupola_sdk::__macros::tracing::field::Empty,
            otel.status_description = ::cupola_sdk::__macros::tracing::field::Empty,
        )
    })
}

/// A field for each argument that is wanted.
fn arguments(options: &Options, function: &Function) -> syn::Result<Vec<TokenStream>> {
    let names = function.arguments();
    if let Some(unknown) = options
        .skip
        .iter()
        .find(|skipped| !names.contains(skipped) && *skipped != "self")
    {
        let problem = format!("the function has no argument `{unknown}`");
        return Err(syn::Error::new_spanned(unknown, problem));
    }
    if !options.args.unwrap_or(false) {
        return Ok(Vec::new());
    }
    let length = length(options)?;
    let wanted = names.into_iter().filter(|name| !options.skip.contains(name));
    Ok(wanted.map(|name| argument(&name, length)).collect())
}

fn argument(name: &Ident, length: usize) -> TokenStream {
    let plain = format_ident!(
        "{}",
        name.to_string().trim_start_matches("r#").trim_start_matches('_')
    );
    let key = plain.to_string();
    quote!(args.#plain = ::cupola_sdk::__macros::argument(#key, &#name, #length),)
}

fn length(options: &Options) -> syn::Result<usize> {
    options
        .max_length
        .as_ref()
        .map_or(Ok(LENGTH_MAX), |length| length.base10_parse())
}

/// What is done with the result.
fn done(options: &Options, function: &Function) -> syn::Result<TokenStream> {
    let length = length(options)?;
    let records_errors = options.errors.unwrap_or_else(|| function.returns_result());
    let result = options.result.then(|| match function.returns_result() {
        true => quote! {
            if let Ok(__cupola_value) = &__cupola_result {
                ::cupola_sdk::__macros::result(&__cupola_within, __cupola_value, #length);
            }
        },
        false => quote!(::cupola_sdk::__macros::result(&__cupola_within, &__cupola_result, #length);),
    });
    let errors = records_errors.then(|| {
        quote! {
            if let Err(__cupola_error) = &__cupola_result {
                ::cupola_sdk::__macros::failed!(__cupola_within, __cupola_error);
            }
        }
    });
    Ok(quote!(#result #errors))
}
