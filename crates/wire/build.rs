//! Generates the types of `proto/nsdb.proto`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/nsdb.proto");
    tonic_prost_build::configure().compile_protos(&["proto/nsdb.proto"], &["proto"])?;
    Ok(())
}
