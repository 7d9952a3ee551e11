//! `error_latch`: the first error stays, whatever comes after it, until it is cleared.

mod common;

use edgewen_rtl::Model;

const NONE: (u64, u64, u64) = (0, 15, 0);

fn bench() -> Option<Model> {
    let mut model = common::model("error_latch", &[])?;
    model.reset(2);
    for source in 0..6 {
        model.set_bits("code_i", 3 * source, 3, 1 + u64::from(source) % 4);
        model.set_bits("address_i", 40 * source, 40, 0x12_3400_0000 + u64::from(source));
    }
    model.set("operation_i", 77);
    Some(model)
}

fn error(model: &Model) -> (u64, u64, u64) {
    (model.get("code_o"), model.get("port_o"), model.get("address_o"))
}

fn raise(model: &mut Model, sources: u64) {
    model.set("valid_i", sources);
    model.clock();
    assert_eq!(model.get("error_o"), 1);
    model.clock();
}

#[test]
fn reports_port_code_address_and_operation() {
    let Some(mut model) = bench() else { return };
    for source in 0..6 {
        assert_eq!(error(&model), NONE);
        raise(&mut model, 1 << source);
        assert_eq!(error(&model), (1 + source % 4, source, 0x12_3400_0000 + source));
        assert_eq!(model.get("operation_o"), 77);
        model.set("valid_i", 0);
        model.set("clear_i", 1);
        model.clock();
        model.set("clear_i", 0);
        assert_eq!(model.get("error_o"), 0);
    }
}

#[test]
fn keeps_the_first_and_of_several_the_lowest_port() {
    let Some(mut model) = bench() else { return };
    raise(&mut model, 0b10_1000);
    assert_eq!(error(&model), (4, 3, 0x12_3400_0003));
    model.set("valid_i", 0b11_1111);
    model.set("operation_i", 78);
    model.set("descriptor_i", 1);
    (0..5).for_each(|_| model.clock());
    assert_eq!(error(&model), (4, 3, 0x12_3400_0003));
    assert_eq!(model.get("operation_o"), 77);
    assert_eq!(model.get("error_o"), 1);
}

#[test]
fn a_descriptor_has_no_port() {
    let Some(mut model) = bench() else { return };
    model.set("descriptor_i", 1);
    model.clock();
    model.set("descriptor_i", 0);
    model.clock();
    assert_eq!(error(&model), (5, 15, 0));
}
