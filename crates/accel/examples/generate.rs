//! Writes hw/rtl/accel_regs_pkg.sv and docs/accelerator-registers.md from the tables in the source.
//!
//! To be run from anywhere in the repository: `cargo run -p edgewen-accel --example generate`.

use std::fs;
use std::io;
use std::path::Path;

use edgewen_accel::registers::generate::{PACKAGE_PATH, TABLES_PATH, markdown, systemverilog};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, text) in [(PACKAGE_PATH, systemverilog()), (TABLES_PATH, markdown())] {
        fs::write(root.join(path), text)?;
        println!("wrote {path}");
    }
    Ok(())
}
