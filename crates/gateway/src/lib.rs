//! A reverse proxy with routes, policies and chains of external processors.
