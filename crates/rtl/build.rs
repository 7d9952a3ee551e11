//! Lists the SystemVerilog sources of `hw/rtl` so that the library can embed them.

use std::{env, fmt::Write as _, fs, path::Path};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let folder = Path::new(&root).join("../../hw/rtl");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut names: Vec<String> = fs::read_dir(&folder)
        .map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    names.retain(|name| name.ends_with(".sv"));
    names.sort();
    let mut list = String::from("&[\n");
    for name in &names {
        let path = folder.join(name);
        let path = path.display();
        writeln!(
            list,
            "    Source {{ name: Cow::Borrowed({name:?}), text: Cow::Borrowed(include_str!({:?})) }},",
            path.to_string()
        )
        .expect("writing to a string cannot fail");
    }
    list.push_str("]\n");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("sources.rs"), list).expect("the build folder is writable");
}
