//! Memories that fail and devices that misbehave: every call ends, with an error that says where, and the next works.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use common::{HEAD_4, cpu, cpu_with, on, packed, sim};
use edgewen_accel::host::{Accelerator, AddressMap, AddressSpace, BusError, Device, HostOptions, Memory};
use edgewen_accel::image::{Layout, ModelImage};
use edgewen_accel::program::Limits;
use edgewen_accel::registers as map;
use edgewen_accel::sim::Sim;
use edgewen_accel::{Error, Result};
use edgewen_engine::{Backend, Batch, Forward, Logits};
use edgewen_kernels::kv::KvType;
use edgewen_layout::GroupSize;
use edgewen_model::packed::PackedFile;
use edgewen_testing::TinySpec;
use edgewen_testing::conformance::token_ids;

/// Which accesses fail: reads or writes of these addresses.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Hole {
    from: u64,
    to: u64,
    error: BusError,
    writes: bool,
}

/// A memory with a hole that can be opened and closed.
struct Failing {
    space: AddressSpace,
    hole: Arc<Mutex<Option<Hole>>>,
}

impl Failing {
    fn check(&self, address: u64, len: usize, writes: bool) -> std::result::Result<(), BusError> {
        match *self.hole.lock().unwrap() {
            Some(hole) if hole.writes == writes && address < hole.to && hole.from < address + len as u64 => {
                Err(hole.error)
            }
            _ => Ok(()),
        }
    }
}

impl Memory for Failing {
    fn read(&self, address: u64, out: &mut [u8]) -> std::result::Result<(), BusError> {
        self.check(address, out.len(), false)?;
        self.space.read(address, out)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> std::result::Result<(), BusError> {
        self.check(address, data.len(), true)?;
        self.space.write(address, data)
    }
}

fn model() -> Arc<PackedFile> {
    packed(&TinySpec { intermediate: 352, ..TinySpec::default() }, GroupSize::G64, HEAD_4)
}

fn failing(file: &Arc<PackedFile>) -> (Sim, Arc<ModelImage>, Arc<Mutex<Option<Hole>>>) {
    let image = Arc::new(ModelImage::new(file.clone(), Layout::RowBlocks).unwrap());
    let space = AddressSpace::new(image.clone());
    let (hole, map) = (Arc::new(Mutex::new(None)), space.map().clone());
    let memory = Failing { space, hole: hole.clone() };
    (Sim::with_memory(Limits::default(), Box::new(memory), map), image, hole)
}

/// Runs a prompt of five tokens.
fn run(backend: &mut dyn Backend) -> edgewen_engine::Result<Vec<f32>> {
    backend.truncate(0, 0);
    let tokens = token_ids(5, 272, 1);
    Forward::default().run(backend, &Batch::one(0, 0, &tokens), Logits::All).map(<[f32]>::to_vec)
}

/// Where the buffers lie, and the results of five tokens in them.
const ACTIVATIONS: u64 = 0x6000_0000;
const RESULTS: u64 = 0x6000_1000;

#[test]
fn a_bus_error_names_operation_port_and_address_and_the_next_call_works() {
    let file = model();
    let (device, image, hole) = failing(&file);
    let mut backend = on(device, &image, &file, HostOptions::default());
    let expected = run(&mut cpu(&file)).unwrap();
    let operations = backend.program().operations().to_vec();

    let byte = |address: u64, error, writes| Hole { from: address, to: address + 1, error, writes };
    let mut cases = Vec::new();
    for (operation, port) in [(0, 0), (2, 3), (3, 1), (7, 2), (8, 0)] {
        let addresses = operations[operation].addresses(port);
        let last = addresses.end - 1;
        let burst = (last / 256 * 256).max(addresses.start);
        cases.push((operation, byte(last, BusError::Slave, false), format!("weight port {port}"), burst));
    }
    let bias = operations[4].bias.unwrap();
    cases.push((4, byte(bias, BusError::Decode, false), "data port, reading".to_owned(), bias));
    cases.push((
        0,
        byte(ACTIVATIONS + 5, BusError::Slave, false),
        "data port, reading".to_owned(),
        ACTIVATIONS,
    ));
    cases.push((
        0,
        byte(RESULTS + 300, BusError::Decode, true),
        "data port, writing".to_owned(),
        RESULTS + 256,
    ));
    for (operation, broken, port, address) in cases {
        *hole.lock().unwrap() = Some(broken);
        let message = run(&mut backend).unwrap_err().to_string();
        let problem = if broken.error == BusError::Slave { "SLVERR" } else { "DECERR" };
        let tensor = &operations[operation].tensor;
        for word in [tensor.as_str(), &port, problem, &format!("address {address:#012x}")] {
            assert!(message.contains(word), "no `{word}` in: {message}");
        }
        *hole.lock().unwrap() = None;
        assert_eq!(run(&mut backend).unwrap(), expected, "after: {message}");
    }
}

#[test]
fn an_error_in_keys_or_values_names_the_attention_of_the_layer() {
    let spec = TinySpec { hidden: 256, heads: 4, kv_heads: 2, ..TinySpec::default() };
    let file = packed(&spec, GroupSize::G64, HEAD_4);
    let (device, image, hole) = failing(&file);
    let cpu = || cpu_with(&file, KvType::Int8);
    let mut backend = Accelerator::new(device, &image, cpu(), HostOptions::default()).unwrap();
    let tokens = token_ids(71, 272, 1);
    let last = |backend: &mut dyn Backend| {
        let mut forward = Forward::default();
        forward.run(backend, &Batch::one(0, 0, &tokens[..70]), Logits::None)?;
        forward.run(backend, &Batch::one(0, 70, &tokens[70..]), Logits::Last).map(<[f32]>::to_vec)
    };
    let expected = last(&mut cpu()).unwrap();
    // Regions begin with port 0's; a layer has 2 heads, each with 4 groups of keys and 4 of values.
    for (index, name) in [(0, "layers.0.attention (keys)"), (7, "layers.1.attention (values)")] {
        let from = ACTIVATIONS + index * 4 * 1088;
        *hole.lock().unwrap() = Some(Hole { from, to: from + 1, error: BusError::Slave, writes: false });
        let message = last(&mut backend).unwrap_err().to_string();
        for word in [name, "weight port 0", &format!("address {from:#012x}")] {
            assert!(message.contains(word), "no `{word}` in: {message}");
        }
        *hole.lock().unwrap() = None;
        assert_eq!(last(&mut backend).unwrap(), expected, "after: {message}");
    }
}

#[test]
fn an_error_while_reading_ahead_names_the_operation_that_was_read() {
    // The functional model sees errors late, so the registers are made to say what hardware would.
    let file = model();
    let ((device, image), rule) = Meddled::over(&file);
    let mut backend = on(device, &image, &file, HostOptions::default());
    let address = backend.program().operations()[1].addresses(2).start;
    *rule.lock().unwrap() = Box::new(move |offset, value| match offset {
        _ if offset == map::DONE.offset => Ok(0),
        _ if offset == map::STATUS.offset => Ok(map::STATUS_ERROR.mask()),
        _ if offset == map::ERROR_CODE.offset => Ok(3),
        _ if offset == map::ERROR_PORT.offset => Ok(2),
        _ if offset == map::ERROR_ADDRESS_LO.offset => Ok(address as u32),
        _ => Ok(value),
    });
    let message = run(&mut backend).unwrap_err().to_string();
    for word in ["layers.0.o (read ahead during layers.0.qkv)", "weight port 2", "did not answer"] {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
}

/// What a read of a register gives instead of its value.
type Rule = Box<dyn Fn(u32, u32) -> Result<u32> + Send>;

/// A device whose registers can be made to say anything.
struct Meddled {
    sim: Sim,
    rule: Arc<Mutex<Rule>>,
}

impl Meddled {
    fn over(file: &Arc<PackedFile>) -> ((Self, Arc<ModelImage>), Arc<Mutex<Rule>>) {
        let (sim, image) = sim(file, Limits::default());
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_, value| Ok(value))));
        ((Self { sim, rule: rule.clone() }, image), rule)
    }
}

impl Device for Meddled {
    fn name(&self) -> String {
        "meddled".to_owned()
    }

    fn read(&mut self, offset: u32) -> Result<u32> {
        let value = self.sim.read(offset)?;
        (self.rule.lock().unwrap())(offset, value)
    }

    fn write(&mut self, offset: u32, value: u32) -> Result<()> {
        self.sim.write(offset, value)
    }

    fn memory(&mut self) -> &mut dyn Memory {
        self.sim.memory()
    }

    fn map(&self) -> AddressMap {
        self.sim.map()
    }

    fn wait(&mut self) -> Result<()> {
        self.sim.wait()
    }

    fn processor_time(&mut self, ns: u64) -> Result<()> {
        self.sim.processor_time(ns)
    }
}

/// Sets a register to a value.
fn fixed(register: map::Register, value: u32) -> Rule {
    Box::new(move |offset, old| Ok(if offset == register.offset { value } else { old }))
}

#[test]
fn an_accelerator_that_stands_still_ends_the_call_and_can_be_used_again() {
    let file = model();
    let ((device, image), rule) = Meddled::over(&file);
    let mut backend = on(device, &image, &file, HostOptions::default());
    let expected = run(&mut backend).unwrap();
    let cases: [(Rule, &[&str]); 3] = [
        (fixed(map::DONE, 0), &["did not finish layers.0.qkv", "DONE 0 of DOORBELL 1", "STATUS"]),
        (Box::new(|_, _| Err(Error::Device("the bus is gone".to_owned()))), &["the bus is gone"]),
        (
            Box::new(|offset, value| {
                Ok(if offset == map::CONTROL.offset {
                    2
                } else {
                    value & !u32::from(offset == map::DONE.offset)
                })
            }),
            &["soft reset does not end"],
        ),
    ];
    for (broken, words) in cases {
        *rule.lock().unwrap() = broken;
        let message = run(&mut backend).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "no `{word}` in: {message}");
        }
        *rule.lock().unwrap() = Box::new(|_, value| Ok(value));
        assert_eq!(run(&mut backend).unwrap(), expected, "after: {message}");
    }
}

#[test]
fn other_devices_are_refused_by_what_they_say() {
    let file = model();
    let cases = [
        (map::ID, 0xffff_ffff, "its ID is 0xffffffff, expected 0x45574143"),
        (map::VERSION, 0x0002_0000, "register map is version 2"),
        (map::CAPS0, 0x0020_6082, "it has 2 weight ports"),
        (map::CAPS0, 0x0720_6084, "unknown layout 7"),
        (map::CAPS2, 0x1000_0000, "a ring of 0"),
        (map::CAPS2, 0x1000_1000, "a ring of 4096"),
    ];
    for (register, value, words) in cases {
        let ((device, image), rule) = Meddled::over(&file);
        *rule.lock().unwrap() = fixed(register, value);
        let error = Accelerator::new(device, &image, cpu(&file), HostOptions::default()).err().unwrap();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_top_k_list_that_cannot_be_is_an_error() {
    let file = model();
    let ((device, image), rule) = Meddled::over(&file);
    let mut backend = on(device, &image, &file, HostOptions::default());
    *rule.lock().unwrap() = fixed(map::TOPK_COUNT, 33);
    let error = backend.top_k(&vec![1.0; 64], 1).unwrap_err();
    assert!(error.to_string().contains("33 entries in a list of 32"), "{error}");
}
