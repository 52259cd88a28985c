// Leads as Mongoose documents, beside enricher: insert them, read what was found, have them enriched again.
//
//   npm install mongoose
//   enricher schema --format mongoose > enriched_lead.mjs
//   MONGODB_URI=mongodb://… node mongoose_lead.mjs ada@quokka-freight.com

import { setTimeout } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import mongoose from "mongoose";
import { enrichedLead } from "./enriched_lead.mjs";

const ENDS = ["completed", "failed", "skipped"];

// What is not declared here, strict mode leaves out of every update without a word.
const leadSchema = new mongoose.Schema({
  email: { type: String, required: true },
  notes: String,
  ...enrichedLead,
});

export const Lead = mongoose.model("Lead", leadSchema, "leads");

export function enrichAgain(id) {
  return Lead.updateOne({ _id: id }, { $set: { enrichment_status: "pending" } });
}

export async function whenEnriched(id) {
  let lead = await Lead.findById(id);
  while (lead && !ENDS.includes(lead.enrichment_status)) {
    await setTimeout(1000);
    lead = await Lead.findById(id);
  }
  return lead;
}

async function main(email) {
  await mongoose.connect(process.env.MONGODB_URI, { dbName: process.env.MONGODB_DATABASE ?? "crm" });
  const { _id } = await Lead.create({ email });
  const lead = await whenEnriched(_id);
  console.log(lead.enrichment_status, lead.enriched_data?.company_data?.name ?? lead.enrichment_error);
  await mongoose.disconnect();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await main(process.argv[2]);
}
