// Leads with fields of their own that found values are copied into; driven by lines of JSON as mongoose_odm.mjs is.

import { createInterface } from "node:readline";
import mongoose from "mongoose";
import { enrichedLead } from "./enriched_lead.mjs";

const leadSchema = new mongoose.Schema(
  {
    email: { type: String, required: true },
    notes: String,
    company: { type: String, cast: false },
    size: { type: Number, cast: false },
    site: { type: String, cast: false },
    ...enrichedLead,
  },
  { strict: "throw", strictQuery: "throw" },
);
const Lead = mongoose.model("Lead", leadSchema, "leads");
const copies = new Map();

const actions = {
  async insert(email) {
    return (await Lead.create({ email }))._id;
  },
  async read(id) {
    const lead = await Lead.findById(id);
    copies.set(id, lead);
    return [lead.company ?? null, lead.size ?? null];
  },
  async save(id, note) {
    const lead = copies.get(id);
    lead.notes = note;
    await Lead.replaceOne({ _id: id }, lead.toObject());
    return null;
  },
  async rename(id, company) {
    await Lead.updateOne({ _id: id }, { $set: { company } });
    return null;
  },
};

await mongoose.connect(process.env.MONGODB_URI, { dbName: process.env.MONGODB_DATABASE });
for await (const line of createInterface({ input: process.stdin })) {
  const [action, ...words] = JSON.parse(line);
  console.log(JSON.stringify(await actions[action](...words)));
}
await mongoose.disconnect();
