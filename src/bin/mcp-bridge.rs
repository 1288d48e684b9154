//! temporary
use clap::Parser;
#[derive(Parser)]
struct C {
    #[command(subcommand)]
    c: D,
    #[arg(long)]
    json: bool,
}
#[derive(clap::Subcommand)]
enum D {
    Demo(mcp_bridge::cli::demo::DemoArgs),
}
fn main() -> std::process::ExitCode {
    if std::env::args()
        .next()
        .is_some_and(|a| a.ends_with("mcp-bridged"))
    {
        return mcp_bridge::daemon::main();
    }
    let c = C::parse();
    let D::Demo(d) = c.c;
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(mcp_bridge::cli::demo::run(d, c.json))
    {
        Ok(e) => e.into(),
        Err(e) => mcp_bridge::cli::report(&e).into(),
    }
}
