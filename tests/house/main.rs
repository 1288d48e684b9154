//! The code, its pages and its checks, held against each other.

#[path = "../common/mod.rs"]
mod common;

mod checks;
mod fuzz;
mod imports;
mod journal;
mod pages;
