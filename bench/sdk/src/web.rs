//! What a web server pays.
use anyhow::Result;
#[derive(clap::Args)]
pub(crate) struct Options {}
#[derive(clap::Args)]
pub(crate) struct RunOptions {}
#[derive(Debug, serde::Serialize)]
pub(crate) struct Row {}
pub(crate) fn run(_: &Options) -> Result<()> {
    Ok(())
}
pub(crate) fn measure(_: &RunOptions, _: &str) -> Result<Vec<Row>> {
    Ok(Vec::new())
}
