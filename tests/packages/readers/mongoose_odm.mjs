// The leads of docs/examples/mongoose_lead.mjs, driven from a test by lines of JSON: ["read", "<id>"] -> [...]

import { createInterface } from "node:readline";
import mongoose from "mongoose";
import { Lead, enrichAgain } from "./mongoose_lead.mjs";

const Undeclared = mongoose.model("Undeclared", new mongoose.Schema({ email: String }), "leads");
const copies = new Map();

const actions = {
  async insert(email) {
    return (await Lead.create({ email }))._id;
  },
  async read(id) {
    const lead = await Lead.findById(id);
    copies.set(id, lead);
    return [lead.enrichment_status ?? null, lead.enriched_data?.company_data?.name ?? null];
  },
  async save(id, note) {
    const lead = copies.get(id);
    lead.notes = note;
    await Lead.replaceOne({ _id: id }, lead.toObject());
    return null;
  },
  async enrichAgain(id) {
    await enrichAgain(id);
    return null;
  },
  async setUndeclared(id) {
    await Undeclared.updateOne({ _id: id }, { $set: { enrichment_status: "pending" } });
    return null;
  },
};

await mongoose.connect(process.env.MONGODB_URI, { dbName: process.env.MONGODB_DATABASE });
for await (const line of createInterface({ input: process.stdin })) {
  const [action, ...words] = JSON.parse(line);
  console.log(JSON.stringify(await actions[action](...words)));
}
await mongoose.disconnect();
