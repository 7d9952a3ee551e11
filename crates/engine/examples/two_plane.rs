//! What the two planes of an 8-bit head are good for: the figures behind docs/packed-format.md, section 4.
//!
//! `two_plane agree MODEL.ewn TEXT [TOKENS]`: how far down the high plane ranks the tokens that all logits put first.
//! `two_plane speed MODEL.ewn [THREADS] [ROUNDS]`: the time of all logits, and of the likeliest twenty.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use edgewen_engine::{Backend, Batch, CpuBackend, Forward, Linear, Logits};
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Activations, Compute, Isa, RowBlocks, linear};
use edgewen_model::packed::PackedFile;

/// Numbers of candidates that are looked at.
const CANDIDATES: [usize; 8] = [1, 8, 16, 32, 64, 128, 256, 512];
/// Tokens of which the likeliest twenty are compared.
const TOP: usize = 20;
/// Tokens of a window of the text.
const WINDOW: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    match arguments.first().map(String::as_str) {
        Some("agree") if 3 <= arguments.len() => agree(&arguments[1], &arguments[2], number(3, 4096)?),
        Some("speed") if 2 <= arguments.len() => speed(&arguments[1], number(2, 2)?, number(3, 31)?),
        _ => {
            Err("usage: two_plane agree MODEL.ewn TEXT [TOKENS] | speed MODEL.ewn [THREADS] [ROUNDS]".into())
        }
    }
}

fn agree(model: &str, text: &str, most: usize) -> Result<(), Box<dyn Error>> {
    let file = Arc::new(PackedFile::open(Path::new(model))?);
    let config = file.config().clone();
    let (shape, data) = file.matrix(if config.tie_word_embeddings { "embed" } else { "head" })?;
    let high_plane = RowBlocks::new(shape, data)?.high_plane().ok_or("the head does not have two planes")?;
    let mut backend = CpuBackend::new(file.clone(), Compute::new(Isa::best(), 2), KvType::F16)?;
    let compute = Compute::new(Isa::best(), 2);
    let ids = file.tokenizer()?.encode(&std::fs::read_to_string(text)?, false)?;
    let ids = &ids[..ids.len().min(most)];
    let mut forward = Forward::default();
    let (mut first, mut any, mut x) = (Vec::new(), Vec::new(), Activations::new());
    for window in ids.chunks(WINDOW.min(config.max_position)) {
        backend.truncate(0, 0);
        let logits = forward.run(&mut backend, &Batch::one(0, 0, window), Logits::All)?.to_vec();
        let normed = forward.normed().chunks(config.hidden_size);
        for (logits, normed) in logits.chunks(config.vocab_size).zip(normed) {
            x.quantize(&compute, normed, 1, shape.inputs, shape.group);
            let mut near = vec![0.0; shape.rows];
            linear(&compute, &high_plane, &x, None, &mut near);
            let mut ranks = vec![0; near.len()];
            for (rank, id) in order(&near).into_iter().enumerate() {
                ranks[id] = rank;
            }
            let top = order(logits);
            first.push(ranks[top[0]]);
            any.push(top.iter().take(TOP).map(|&id| ranks[id]).max().unwrap_or(0));
        }
    }
    println!("{} tokens, vocabulary {}", first.len(), config.vocab_size);
    for candidates in CANDIDATES {
        let missed = |ranks: &[usize]| ranks.iter().filter(|&&rank| candidates <= rank).count();
        let (first, any) = (missed(&first), missed(&any));
        println!(
            "  {candidates:3} candidates: best token missed {first:4} times, one of {TOP} {any:4} times"
        );
    }
    let needed = |ranks: &[usize]| ranks.iter().max().map_or(0, |rank| rank + 1);
    println!("  candidates that miss none: best token {}, best {TOP} {}", needed(&first), needed(&any));
    Ok(())
}

/// Ids by logit, largest first.
fn order(logits: &[f32]) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    ids.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    ids
}

fn speed(model: &str, threads: usize, rounds: usize) -> Result<(), Box<dyn Error>> {
    let file = Arc::new(PackedFile::open(Path::new(model))?);
    let config = file.config().clone();
    let mut backend = CpuBackend::new(file, Compute::new(Isa::best(), threads), KvType::F16)?;
    let x: Vec<f32> = (0..config.hidden_size).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect();
    let mut logits = vec![0.0; config.vocab_size];
    let (mut all, mut top) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let started = Instant::now();
        backend.linear(Linear::Head, &x, 1, &mut logits)?;
        all.push(1e3 * started.elapsed().as_secs_f64());
        let started = Instant::now();
        black_box(backend.top_k(&x, TOP)?);
        top.push(1e3 * started.elapsed().as_secs_f64());
    }
    println!("{}, head of {} x {}, {rounds} rounds", backend.name(), config.vocab_size, config.hidden_size);
    for (name, mut times) in [("all logits", all), ("likeliest 20", top)] {
        times.sort_by(f64::total_cmp);
        println!("  {name:12} median {:.2} ms, best {:.2} ms", times[times.len() / 2], times[0]);
    }
    Ok(())
}
