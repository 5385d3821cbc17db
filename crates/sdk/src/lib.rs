//! Write an Envoy external processor (ext_proc) in ten lines.
