//! The async shell around `extproc-core`.
