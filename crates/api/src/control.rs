//! What the API asks of the program around it.

use async_trait::async_trait;

/// The program that the API is part of.
#[async_trait]
pub trait Control: Send + Sync {
    /// Reads the configuration again and changes what runs to it; or says everything that is wrong with it, and goes on.
    async fn reload(&self) -> Result<ConfigurationChange, String>;
}

/// What reading the configuration again has changed.
#[derive(Debug, Clone, Default)]
pub struct ConfigurationChange {
    /// Components that were started, as `exporters.otlp/2`.
    pub made: Vec<String>,
    pub ended: Vec<String>,
    /// How many went on untouched.
    pub kept: usize,
    pub warnings: Vec<String>,
}
