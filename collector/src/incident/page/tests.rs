//! Pages of made-up incidents.
