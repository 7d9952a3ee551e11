//! Opens what `--model` names and makes it ready to run.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{anyhow, bail};
use edgewen_accel::host::{Accelerator, AddressSpace, Device, HostOptions};
use edgewen_accel::image::{Layout, ModelImage};
use edgewen_accel::program::Limits;
use edgewen_accel::sim::Sim;
use edgewen_engine::{Backend, CpuBackend, Reference, Session};
use edgewen_kernels::{Compute, Isa, IsaKind};
use edgewen_layout::WeightBits;
use edgewen_model::packed::{PackedFile, TensorKind};
use edgewen_model::{ChatTemplate, Checkpoint, Config, GenerationDefaults, Tokenizer, TokenizerFiles};
use edgewen_rtl::{RtlDevice, RtlOptions};

use crate::args::{ComputeArgs, ContextArgs, DeviceArg, IsaArg, KvArg, ModelArgs};
use crate::{machine, output};

/// The word that names the built-in model.
pub const DEMO_NAME: &str = "demo";

/// Bytes at an address that suits any tensor in them.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static DEMO: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../fixtures/demo/demo.ewn"));

/// A model that is open but not yet running.
pub enum Source {
    /// A packed file, or the built-in one.
    Packed(Arc<PackedFile>),
    /// A checkpoint directory.
    Checkpoint(Arc<Checkpoint>),
}

impl Source {
    /// Opens a packed file, the built-in model, or a checkpoint directory.
    pub fn open(model: &str) -> anyhow::Result<Self> {
        let path = Path::new(model);
        if model == DEMO_NAME {
            Ok(Source::Packed(Arc::new(PackedFile::from_static(&DEMO.0, DEMO_NAME)?)))
        } else if path.is_dir() {
            Ok(Source::Checkpoint(Arc::new(Checkpoint::open(path)?)))
        } else if path.exists() {
            Ok(Source::Packed(Arc::new(PackedFile::open(path)?)))
        } else {
            bail!(
                "there is no model `{model}`: give a packed file (.ewn), a checkpoint directory, or the word \
                 {DEMO_NAME} for the built-in model"
            )
        }
    }
}

/// A model that is ready to run.
pub struct Model {
    /// What the user called it.
    pub name: String,
    /// The shape of the model.
    pub config: Config,
    /// The model's own sampling defaults.
    pub generation: GenerationDefaults,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Tokens of prompt and answer together, at most.
    pub context: usize,
    /// Where it runs.
    pub backend: Box<dyn Backend>,
    /// Name of the device.
    pub device: String,
    /// Name of the instruction set.
    pub isa: String,
    /// Threads that compute.
    pub threads: usize,
    /// Time from opening the file to here.
    pub load_seconds: f64,
    /// Number format of the key-value cache.
    pub kv: &'static str,
    /// Bytes of the model on the disk.
    pub bytes: u64,
    /// Bytes of weights that one token of an answer reads; of an 8-bit head the high plane, without the candidates' rows.
    pub bytes_per_token: u64,
    template: edgewen_model::Result<Option<ChatTemplate>>,
}

impl Model {
    /// Opens a model and prepares it for one sequence of at most the context's length.
    pub fn load(model: &ModelArgs, context: &ContextArgs, compute: &ComputeArgs) -> anyhow::Result<Self> {
        let started = Instant::now();
        let compute_on = Compute::new(isa(compute.isa)?, compute.threads.unwrap_or_else(machine::cores));
        match Source::open(&model.model)? {
            Source::Packed(file) => packed(file, compute.device, compute_on, context, started),
            Source::Checkpoint(_) if !matches!(compute.device, DeviceArg::Auto | DeviceArg::Cpu) => bail!(
                "{} is a checkpoint directory, and the accelerator runs packed files: make one with `edgewen \
                 quantize`, or leave out --device",
                model.model
            ),
            Source::Checkpoint(checkpoint) => {
                reference(checkpoint, compute_on.pool.threads(), context, started)
            }
        }
    }

    /// A new conversation or text.
    pub fn session(&mut self) -> anyhow::Result<Session<'_>> {
        Ok(Session::new(
            self.backend.as_mut(),
            self.tokenizer.clone(),
            self.generation.eos.clone(),
            self.context,
        ))
    }

    /// The chat template, if the model has one; once.
    pub fn chat_template(&mut self) -> anyhow::Result<Option<ChatTemplate>> {
        Ok(std::mem::replace(&mut self.template, Ok(None))?)
    }
}

/// The error of a model that cannot chat.
pub fn no_template(model: &str) -> anyhow::Error {
    anyhow!(
        "model {model} has no chat template: a conversation needs an instruct model; for a base model use \
         `edgewen generate`"
    )
}

/// Bytes of a checkpoint's weights.
pub fn checkpoint_bytes(checkpoint: &Checkpoint) -> anyhow::Result<u64> {
    Ok(checkpoint.tensor_bytes())
}

/// The instruction set asked for, else the best one.
fn isa(wanted: Option<IsaArg>) -> anyhow::Result<Isa> {
    let Some(wanted) = wanted else { return Ok(Isa::best()) };
    let kind = match wanted {
        IsaArg::Scalar => IsaKind::Scalar,
        IsaArg::Avx2 => IsaKind::Avx2,
        IsaArg::Avx512 => IsaKind::Avx512,
        IsaArg::Neon => IsaKind::Neon,
        IsaArg::Dotprod => IsaKind::NeonDotprod,
    };
    Isa::new(kind).ok_or_else(|| {
        let names: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
        anyhow!("this CPU does not have {}: --isa can be {}", kind.name(), names.join(", "))
    })
}

/// The context asked for, else all the model was made for.
fn context_of(wanted: Option<usize>, config: &Config) -> anyhow::Result<usize> {
    let most = config.max_position;
    match wanted {
        Some(wanted) if most < wanted => {
            bail!("--context {wanted} is more than the {most} tokens that the model was made for")
        }
        wanted => Ok(wanted.unwrap_or(most)),
    }
}

/// See [`Model::bytes_per_token`].
fn bytes_per_token(file: &PackedFile, config: &Config) -> anyhow::Result<u64> {
    let mut bytes = 0;
    // The embedding is read whole only where it is the head too; otherwise a token reads one row of it.
    for tensor in file.tensors().filter(|tensor| tensor.name != "embed" || config.tie_word_embeddings) {
        bytes += match tensor.kind {
            TensorKind::RowBlocks { bits: WeightBits::Eight, .. } => {
                file.matrix(&tensor.name)?.0.low_plane_offset() as u64
            }
            _ => tensor.bytes,
        };
    }
    Ok(bytes)
}

fn packed(
    file: Arc<PackedFile>,
    device: DeviceArg,
    compute: Compute,
    arguments: &ContextArgs,
    started: Instant,
) -> anyhow::Result<Model> {
    let (config, generation) = (file.config().clone(), file.generation().clone());
    let context = context_of(arguments.context, &config)?;
    let tokenizer = file.tokenizer()?;
    let template = file.chat_template();
    let bytes_per_token = bytes_per_token(&file, &config)?;
    let (name, bytes) = (file.name().to_string(), file.file_bytes());
    let (kv, kv_name) = match arguments.kv {
        KvArg::F16 => (edgewen_kernels::kv::KvType::F16, "f16"),
        KvArg::Int8 => (edgewen_kernels::kv::KvType::Int8, "int8"),
    };
    let (isa, threads) = (compute.isa, compute.pool.threads());
    let cpu = CpuBackend::new(file.clone(), compute, kv)?;
    let (backend, device): (Box<dyn Backend>, _) = match device {
        DeviceArg::Auto | DeviceArg::Cpu => (Box::new(cpu), "cpu"),
        DeviceArg::Sim => {
            let image = Arc::new(ModelImage::new(file, Layout::RowBlocks)?);
            let sim = Sim::new(Limits::default(), AddressSpace::new(image.clone()));
            (accelerator(sim, &image, cpu)?, "sim")
        }
        DeviceArg::Rtl => {
            let image = Arc::new(ModelImage::new(file, Layout::RowBlocks)?);
            let options = RtlOptions::default();
            if !options.is_compiled()? {
                output::note("compiling the RTL with Verilator: about half a minute, once");
            }
            let rtl = RtlDevice::new(image.clone(), &options)?;
            (accelerator(rtl, &image, cpu)?, "rtl")
        }
    };
    Ok(Model {
        name,
        config,
        generation,
        tokenizer,
        context,
        backend,
        device: device.to_string(),
        isa: isa.name().to_string(),
        threads,
        load_seconds: started.elapsed().as_secs_f64(),
        kv: kv_name,
        bytes,
        bytes_per_token,
        template,
    })
}

/// The model on an accelerator. What of it stays with the processor is said.
fn accelerator<D: Device + 'static>(
    device: D,
    image: &ModelImage,
    cpu: CpuBackend,
) -> anyhow::Result<Box<dyn Backend>> {
    let accelerator = Accelerator::new(device, image, cpu, HostOptions::default())?;
    if let Some(reason) = accelerator.program().head_on_processor() {
        output::note(&format!("the output head runs on the CPU: {reason}"));
    }
    Ok(Box::new(accelerator))
}

fn reference(
    checkpoint: Arc<Checkpoint>,
    threads: usize,
    arguments: &ContextArgs,
    started: Instant,
) -> anyhow::Result<Model> {
    checkpoint.validate()?;
    let (config, generation) = (checkpoint.config().clone(), checkpoint.generation().clone());
    let context = context_of(arguments.context, &config)?;
    let files: TokenizerFiles = checkpoint.tokenizer_files()?;
    let tokenizer = Tokenizer::from_files(&files)?;
    tokenizer.check_vocabulary(config.vocab_size)?;
    let template = ChatTemplate::from_files(&files);
    let name = checkpoint.dir().display().to_string();
    let weights =
        if checkpoint.quantization().is_some() { "with dequantized weights" } else { "unquantized" };
    output::note(&format!(
        "{name} is a checkpoint directory: it runs {weights} on the float reference path, slow and exact"
    ));
    let bytes = checkpoint_bytes(&checkpoint)?;
    let backend = Reference::new(checkpoint, threads)?;
    Ok(Model {
        name,
        config,
        generation,
        tokenizer,
        context,
        backend: Box::new(backend),
        device: "reference".to_string(),
        isa: "float".to_string(),
        threads,
        load_seconds: started.elapsed().as_secs_f64(),
        kv: "f32",
        bytes,
        bytes_per_token: bytes,
        template,
    })
}
