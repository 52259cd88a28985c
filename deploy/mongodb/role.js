// The least that enricher needs, and a user who has it. May be run again: the role is brought up to date, the user stays.
//
//   mongosh "mongodb://admin@db1.internal/?replicaSet=rs0&authSource=admin" --file deploy/mongodb/role.js
//
// Asks for the user's password unless PASSWORD holds it. Other names than crm and leads are taken from the variables
// that the daemon takes them from. Several collections stand in LEADS_COLLECTION with commas between them. WRITE=beside
// makes the role for results beside the leads; where only some of the collections have them, BESIDE names these.
// tests/test_role.py compares with docs/operations/running.md and with what the daemon asks for.
//
// Optional, and not in here, because only a role of the database admin may reach into other databases: find on oplog.rs of
// local (how far back the oplog reaches) and find on collections of config (on a sharded cluster: the shard keys).

const names = (text) => text.split(",").map((name) => name.trim()).filter((name) => name)
const crm = process.env.MONGODB_DATABASE || "crm"
const sources = names(process.env.LEADS_COLLECTION || "leads")
const beside = process.env.WRITE === "beside" ? sources : names(process.env.BESIDE || "")
const strangers = beside.filter((name) => !sources.includes(name))
if (strangers.length) throw new Error(`BESIDE names what LEADS_COLLECTION does not: ${strangers}`)

const onLeads = (leads) => [
  { resource: { db: crm, collection: leads },
    actions: ["find", "update", "changeStream", "createIndex", "listIndexes"] },
  { resource: { db: crm, collection: "enricher_history_" + leads },
    actions: ["find", "insert", "update", "remove"] },
]

// Results stand beside the leads, which are only read.
const besideLeads = (leads) => [
  { resource: { db: crm, collection: leads }, actions: ["find", "changeStream"] },
  { resource: { db: crm, collection: "enricher_history_" + leads },
    actions: ["find", "insert", "update", "remove"] },
  { resource: { db: crm, collection: "enricher_results_" + leads },
    actions: ["find", "insert", "update", "remove", "createIndex", "listIndexes"] },
]

const ours = [
  { resource: { db: crm, collection: "enricher_checkpoints" }, actions: ["find", "insert", "update"] },
  { resource: { db: crm, collection: "enricher_answers" },
    actions: ["find", "insert", "update", "remove", "createIndex"] },
  { resource: { db: crm, collection: "enricher_secrets" }, actions: ["find", "insert", "update"] },
  { resource: { db: crm, collection: "enricher_limits" }, actions: ["find", "insert", "update"] },
  { resource: { db: crm, collection: "enricher_usage" },
    actions: ["find", "insert", "update", "createIndex"] },
  { resource: { db: crm, collection: "enricher_suppressed" },
    actions: ["find", "insert", "update", "remove"] },
  { resource: { db: crm, collection: "enricher_daemons" },
    actions: ["find", "insert", "update", "createIndex"] },
  { resource: { db: crm, collection: "enricher_fatal" },
    actions: ["find", "insert", "update", "remove"] },
  { resource: { db: crm, collection: "enricher_events" },
    actions: ["find", "insert", "update", "remove", "createIndex"] },
  { resource: { db: crm, collection: "enricher_event_drafts" },
    actions: ["find", "insert", "update", "remove"] },
  { resource: { db: crm, collection: "" }, actions: ["listCollections"] },
]

const each = sources.flatMap((leads) => (beside.includes(leads) ? besideLeads(leads) : onLeads(leads)))
const privileges = [...each, ...ours]

const database = db.getSiblingDB(crm)
if (database.getRole("enricher")) {
  database.updateRole("enricher", { privileges, roles: [] })
} else {
  database.createRole({ role: "enricher", privileges, roles: [] })
}
if (!database.getUser("enricher")) {
  database.createUser({ user: "enricher", pwd: process.env.PASSWORD || passwordPrompt(), roles: ["enricher"] })
}
print(`The user enricher of the database ${crm} has the role enricher.`)
