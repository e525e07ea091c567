//! socketio-proto
