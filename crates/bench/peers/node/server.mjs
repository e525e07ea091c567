// The official server with the contract of the benchmark's, on `PORT`.

import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
// Clients of Engine.IO 3 have to be let in; everything else is the default.
const io = new Server(http, { allowEIO3: true, serveClient: false });

io.on("connection", (socket) => {
  socket.on("message", (...args) => socket.emit("message-back", ...args));
  socket.on("message-with-ack", (...args) => args.pop()(...args));
  socket.on("broadcast", (payload) => io.emit("broadcast", payload));
  socket.on("join", (room) => socket.join(room));
  socket.on("room-broadcast", (room, payload) => io.to(room).emit("room-broadcast", payload));
});

http.listen(Number(process.env.PORT), "0.0.0.0");
