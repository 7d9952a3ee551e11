//! `mul_pair` against two plain products, for every operand there is.

mod common;

#[test]
fn both_lanes_hold_their_product_for_all_operands() {
    let Some(mut model) = common::model("mul_pair", &[]) else { return };
    for operands in 0..1u32 << 16 {
        let (weight0, weight1, activation) = (operands & 15, operands >> 4 & 15, (operands >> 8) as u8 as i8);
        model.set("weight0_i", u64::from(weight0));
        model.set("weight1_i", u64::from(weight1));
        model.set("activation_i", u64::from(activation as u8));
        model.eval();
        // 33 bits, sign extended
        let product = (model.get("product_o") << 31) as i64 >> 31;
        let low = product << 44 >> 44;
        let high = (product >> 20) + (product >> 19 & 1);
        let plain = |weight: u32| i64::from(weight) * i64::from(activation);
        assert_eq!((low, high), (plain(weight0), plain(weight1)), "{weight0} {weight1} {activation}");
    }
}
