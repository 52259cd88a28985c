// Take what enricher posts: `npm install standardwebhooks`, then `ENRICHER_WEBHOOK_SECRET=… node webhook_receiver.mjs`
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.ENRICHER_WEBHOOK_SECRET);
const seen = new Set(); // better: a unique index in your database

const server = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray()).toString(); // as it came: JSON that was parsed has another signature
  let said;
  try {
    said = webhook.verify(body, request.headers);
  } catch {
    return response.writeHead(401).end();
  }
  const event = request.headers["webhook-id"];
  if (!seen.has(event)) console.log(event, JSON.stringify(said.data.lead), said.data.status); // the same event may be posted twice
  seen.add(event);
  response.writeHead(204).end();
});

server.listen(process.env.PORT ?? 8000, "127.0.0.1", () => console.log(`listening ${server.address().port}`));
