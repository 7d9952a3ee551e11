//! The committed package and tables are what the generator writes, and the register map is sound.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use edgewen_accel::descriptor;
use edgewen_accel::registers::generate::{PACKAGE_PATH, TABLES_PATH, markdown, systemverilog};
use edgewen_accel::registers::{DESCRIPTOR_RAM, REGISTERS};

#[test]
fn committed_files_are_what_the_generator_writes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, text) in [(PACKAGE_PATH, systemverilog()), (TABLES_PATH, markdown())] {
        let committed = fs::read_to_string(root.join(path)).unwrap();
        assert!(
            committed == text,
            "{path} is not what the tables say: run `cargo run -p edgewen-accel --example generate`"
        );
    }
}

#[test]
fn no_two_registers_share_an_offset() {
    let mut seen = HashSet::new();
    for register in REGISTERS {
        for index in 0..register.count {
            let offset = register.at(index);
            assert!(offset.is_multiple_of(4) && offset < DESCRIPTOR_RAM, "{} at {offset:#x}", register.name);
            assert!(seen.insert(offset), "{} at {offset:#x}", register.name);
        }
    }
}

#[test]
fn no_two_fields_share_a_bit() {
    for register in REGISTERS {
        let mut used = 0;
        for field in register.fields {
            assert_eq!(used & field.mask(), 0, "{}.{}", register.name, field.name);
            used |= field.mask();
        }
    }
    let mut used = [0; descriptor::WORDS];
    for field in descriptor::FIELDS {
        let mask = (u32::MAX >> (32 - field.width)) << field.low;
        assert_eq!(used[field.word] & mask, 0, "{}", field.name);
        used[field.word] |= mask;
    }
}
