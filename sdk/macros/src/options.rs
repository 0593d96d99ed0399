//! What stands in the parentheses of the attributes.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, LitBool, LitInt, LitStr, Token, parenthesized};

/// Options of both attributes. Those that one of them does not know it refuses.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) message: Option<LitStr>,
    pub(crate) level: Option<Level>,
    pub(crate) kind: Option<LitStr>,
    pub(crate) args: Option<bool>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) max_length: Option<LitInt>,
    pub(crate) result: bool,
    pub(crate) errors: Option<bool>,
    pub(crate) correlation_id: Option<Expr>,
    /// Fields as `tracing` writes them.
    pub(crate) attributes: TokenStream,
    /// Names in the order in which they were given, for errors.
    pub(crate) given: Vec<Ident>,
}

/// A level of `tracing`.
pub(crate) struct Level(TokenStream);

impl Level {
    pub(crate) fn tokens(level: Option<&Level>, usual: &str) -> TokenStream {
        match level {
            Some(Level(tokens)) => tokens.clone(),
            None => level_named(usual).unwrap_or_default(),
        }
    }
}

fn level_named(name: &str) -> Option<TokenStream> {
    let name = match name.to_ascii_lowercase().as_str() {
        "trace" => quote!(TRACE),
        "debug" => quote!(DEBUG),
        "info" => quote!(INFO),
        "warn" | "warning" => quote!(WARN),
        "error" => quote!(ERROR),
        _ => return None,
    };
    Some(quote!(::cupola_sdk::__macros::tracing::Level::#name))
}

impl Parse for Level {
    fn parse(input: ParseStream<'_>) -> syn::Result<Level> {
        let name: LitStr = input.parse()?;
        let known = level_named(&name.value()).map(Level);
        known.ok_or_else(|| {
            syn::Error::new_spanned(
                &name,
                "there is no such level; levels are trace, debug, info, warn and error",
            )
        })
    }
}

const NAMES: &str =
    "name, message, level, kind, args, skip, max_length, result, errors, correlation_id and attributes";

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Options> {
        let mut options = Options::default();
        while !input.is_empty() {
            options.parse_one(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn parse_one(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        // A name alone, as a text in front.
        if input.peek(LitStr) && self.given.is_empty() {
            self.name = Some(input.parse()?);
            return Ok(());
        }
        let option: Ident = input.parse()?;
        if self.given.contains(&option) {
            return Err(syn::Error::new_spanned(
                &option,
                format!("`{option}` is given twice"),
            ));
        }
        match option.to_string().as_str() {
            "name" => self.name = Some(value(input)?),
            "message" => self.message = Some(value(input)?),
            "level" => self.level = Some(value(input)?),
            "kind" => self.kind = Some(kind(value(input)?)?),
            "args" => self.args = Some(switch(input)?),
            "skip" => self.skip = names(input)?,
            "max_length" => self.max_length = Some(value(input)?),
            "result" => self.result = switch(input)?,
            "errors" => self.errors = Some(switch(input)?),
            "correlation_id" => self.correlation_id = Some(value(input)?),
            "attributes" => {
                let inner;
                parenthesized!(inner in input);
                self.attributes = inner.parse()?;
            }
            other => {
                let problem = format!("there is no option `{other}`; options are {NAMES}");
                return Err(syn::Error::new_spanned(&option, problem));
            }
        }
        self.given.push(option);
        Ok(())
    }

    /// Refuses those that are not among `known`.
    pub(crate) fn only(&self, attribute: &str, known: &[&str]) -> syn::Result<()> {
        let unknown = self
            .given
            .iter()
            .find(|given| !known.iter().any(|known| given == known));
        unknown.map_or(Ok(()), |given| {
            let problem = format!(
                "`{attribute}` has no option `{given}`; it has {}",
                known.join(", ")
            );
            Err(syn::Error::new_spanned(given, problem))
        })
    }

    /// The attributes with a comma behind them, if there are any.
    pub(crate) fn fields(&self) -> TokenStream {
        let attributes = &self.attributes;
        let ends = attributes
            .clone()
            .into_iter()
            .last()
            .is_none_or(|last| last.to_string() == ",");
        match ends {
            true => quote!(#attributes),
            false => quote!(#attributes,),
        }
    }
}

/// What stands behind `=`.
fn value<T: Parse>(input: ParseStream<'_>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

/// On by its name alone, or as it says.
fn switch(input: ParseStream<'_>) -> syn::Result<bool> {
    match input.peek(Token![=]) {
        true => value::<LitBool>(input).map(|given| given.value),
        false => Ok(true),
    }
}

fn names(input: ParseStream<'_>) -> syn::Result<Vec<Ident>> {
    let inner;
    parenthesized!(inner in input);
    // `self` too, although it is no argument that would be recorded.
    let names = Punctuated::<Ident, Token![,]>::parse_terminated_with(&inner, Ident::parse_any)?;
    Ok(names.into_iter().collect())
}

fn kind(kind: LitStr) -> syn::Result<LitStr> {
    match kind.value().to_ascii_lowercase().as_str() {
        "internal" | "server" | "client" | "producer" | "consumer" => Ok(kind),
        _ => Err(syn::Error::new_spanned(
            &kind,
            "there is no such kind; kinds are internal, server, client, producer and consumer",
        )),
    }
}
