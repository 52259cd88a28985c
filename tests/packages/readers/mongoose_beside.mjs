// Leads that declare nothing of enricher's, whose results stand beside them; driven by lines of JSON as mongoose_odm.mjs is.

import { createInterface } from "node:readline";
import mongoose from "mongoose";
import { enrichedLead } from "./enriched_lead.mjs";

const leadSchema = new mongoose.Schema(
  { email: { type: String, required: true }, notes: String },
  { strict: "throw", strictQuery: "throw" },
);
const Lead = mongoose.model("Lead", leadSchema, "leads");
const Result = mongoose.model("Result", new mongoose.Schema(enrichedLead), "enricher_results_leads");
const copies = new Map();

const actions = {
  async insert(email) {
    return (await Lead.create({ email }))._id;
  },
  async read(id) {
    copies.set(id, await Lead.findById(id));
    const found = await Result.findById(id);
    return [found.enrichment_status ?? null, found.enriched_data?.company_data?.name ?? null];
  },
  async save(id, note) {
    const lead = copies.get(id);
    lead.notes = note;
    await Lead.replaceOne({ _id: id }, lead.toObject());
    return null;
  },
  async enrichAgain(id) {
    await Result.updateOne({ _id: id }, { $set: { enrichment_status: "pending" } });
    return null;
  },
};

await mongoose.connect(process.env.MONGODB_URI, { dbName: process.env.MONGODB_DATABASE });
for await (const line of createInterface({ input: process.stdin })) {
  const [action, ...words] = JSON.parse(line);
  console.log(JSON.stringify(await actions[action](...words)));
}
await mongoose.disconnect();
