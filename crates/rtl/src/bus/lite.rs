//! The AXI4-Lite master that reads and writes the registers, one access at a time.

use super::timing::{Channel, Timing};
use crate::model::{Model, PortId};

/// Clocks after which a register access that has no answer is given up.
pub(crate) const READ_LIMIT: u32 = 10_000;

/// Stands for a port in the random numbers.
const PORT: usize = 6;

#[derive(Debug)]
pub(crate) struct Lite {
    awvalid: PortId,
    awready: PortId,
    awaddr: PortId,
    wvalid: PortId,
    wready: PortId,
    wdata: PortId,
    wstrb: PortId,
    bvalid: PortId,
    bready: PortId,
    bresp: PortId,
    arvalid: PortId,
    arready: PortId,
    araddr: PortId,
    rvalid: PortId,
    rready: PortId,
    rdata: PortId,
    rresp: PortId,
    access: Option<Access>,
}

/// An access under way.
#[derive(Debug)]
struct Access {
    write: Option<u32>,
    address: u32,
    /// Which of the address and the data are still to be shown, are shown, were taken.
    address_step: Step,
    data_step: Step,
    ready: bool,
    /// RVALID or BVALID was seen without being taken.
    held: Option<(u64, u64)>,
    result: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Waiting,
    Shown,
    Taken,
}

impl Lite {
    pub fn new(model: &Model, prefix: &str) -> Self {
        let id = |signal: &str| model.port(&format!("{prefix}{signal}"));
        Self {
            awvalid: id("awvalid"),
            awready: id("awready"),
            awaddr: id("awaddr"),
            wvalid: id("wvalid"),
            wready: id("wready"),
            wdata: id("wdata"),
            wstrb: id("wstrb"),
            bvalid: id("bvalid"),
            bready: id("bready"),
            bresp: id("bresp"),
            arvalid: id("arvalid"),
            arready: id("arready"),
            araddr: id("araddr"),
            rvalid: id("rvalid"),
            rready: id("rready"),
            rdata: id("rdata"),
            rresp: id("rresp"),
            access: None,
        }
    }

    pub fn begin(&mut self, address: u32, write: Option<u32>) {
        self.access = Some(Access {
            write,
            address,
            address_step: Step::Waiting,
            data_step: if write.is_some() { Step::Waiting } else { Step::Taken },
            ready: false,
            held: None,
            result: None,
        });
    }

    /// Data and response of the access, once it is complete.
    pub fn finish(&mut self) -> Option<(u64, u64)> {
        let result = self.access.as_ref()?.result?;
        self.access = None;
        Some(result)
    }

    #[inline]
    pub fn drive(&mut self, model: &mut Model, timing: &Timing) {
        let Some(access) = &mut self.access else { return };
        let (address, valid) = match access.write {
            Some(_) => (self.awaddr, self.awvalid),
            None => (self.araddr, self.arvalid),
        };
        if access.address_step == Step::Waiting && timing.allows(PORT, Channel::Aw) {
            model.set_at(address, u64::from(access.address));
            access.address_step = Step::Shown;
        }
        model.set_at(valid, u64::from(access.address_step == Step::Shown));
        if let Some(value) = access.write {
            if access.data_step == Step::Waiting && timing.allows(PORT, Channel::W) {
                model.set_at(self.wdata, u64::from(value));
                model.set_at(self.wstrb, 0xf);
                access.data_step = Step::Shown;
            }
            model.set_at(self.wvalid, u64::from(access.data_step == Step::Shown));
        }
        access.ready = access.result.is_none() && timing.allows(PORT, Channel::Lite);
        let ready = if access.write.is_some() { self.bready } else { self.rready };
        model.set_at(ready, u64::from(access.ready));
    }

    #[inline]
    pub fn sample(&mut self, model: &Model) -> Result<(), String> {
        let Some(access) = &mut self.access else { return Ok(()) };
        let (address_ready, valid, response) = match access.write {
            Some(_) => (self.awready, self.bvalid, self.bresp),
            None => (self.arready, self.rvalid, self.rresp),
        };
        let valid = model.get_at(valid) == 1;
        let early = access.address_step != Step::Taken || access.data_step != Step::Taken;
        if valid && (early || access.result.is_some()) {
            return Err(format!("a response to no register access (address {:#x})", access.address));
        }
        if access.address_step == Step::Shown && model.get_at(address_ready) == 1 {
            access.address_step = Step::Taken;
        }
        if access.data_step == Step::Shown && model.get_at(self.wready) == 1 {
            access.data_step = Step::Taken;
        }
        let data = if access.write.is_some() { 0 } else { model.get_at(self.rdata) };
        let seen = (data, model.get_at(response));
        if access.held.is_some_and(|held| !valid || held != seen) {
            return Err("the response to a register access changed before it was taken".to_owned());
        }
        access.held = (valid && !access.ready).then_some(seen);
        if valid && access.ready {
            access.result = Some(seen);
        }
        Ok(())
    }
}
