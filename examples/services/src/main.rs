//! The program of the example: one of the services, or all of them with users.

use std::path::PathBuf;

use clap::Parser;
use cupola_example_services::processes::Shop;
use cupola_example_services::tokens::{self, USERS, User};
use cupola_example_services::{Failure, Service, lifeline, run, users};
use tokio::process::Command;
use tokio::task::JoinSet;

/// A small shop of four services.
#[derive(Debug, Parser)]
enum Program {
    #[command(flatten)]
    One(Service),
    /// All four, each in a process of its own, until Ctrl-C.
    All {
        /// Where the databases are.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Have users look around and order.
        #[arg(long)]
        users: bool,
    },
    /// Prints a token for the gateway, of alice and bob (acme), carol and dan (globex), erin and frank (initech).
    Token { user: String },
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    match Program::parse() {
        Program::One(service) => run(service).await,
        Program::All { data, users } => all(data, users).await,
        Program::Token { user } => {
            let known = people().find(|known| known.id == user);
            let known = known.ok_or("nobody has that name; see --help")?;
            println!("{}", tokens::token(&known));
            Ok(())
        }
    }
}

fn people() -> impl Iterator<Item = User> {
    USERS.iter().map(|(id, tenant)| User {
        id: (*id).to_owned(),
        tenant: (*tenant).to_owned(),
    })
}

async fn all(data: PathBuf, has_users: bool) -> Result<(), Failure> {
    std::fs::create_dir_all(&data)?;
    let program = std::env::current_exe()?;
    let shop = Shop::start(|| Command::new(&program), &data).await?;
    println!("the gateway is at {}", shop.gateway);
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut visits = JoinSet::new();
    for user in people().filter(|_| has_users) {
        let (http, gateway) = (http.clone(), shop.gateway.clone());
        visits.spawn(async move { users::visit(&http, &gateway, &user, || {}).await });
    }
    lifeline::ended(false).await;
    visits.shutdown().await;
    shop.stop().await;
    Ok(())
}
