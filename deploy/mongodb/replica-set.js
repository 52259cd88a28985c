// Makes a lone mongod a replica set of one, once, and fails until it takes writes: the health check in compose.yaml.
// MEMBER is the address by which everybody else reaches it.

try {
  rs.status()
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: process.env.MEMBER }] })
}
quit(db.hello().isWritablePrimary ? 0 : 1)
