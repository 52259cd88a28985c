"""Take what enricher posts: `ENRICHER_WEBHOOK_SECRET=… uvicorn webhook_receiver:app`."""

import os

from fastapi import FastAPI, HTTPException, Request
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

app = FastAPI()
webhook = Webhook(os.environ["ENRICHER_WEBHOOK_SECRET"])
seen: set[str] = set()  # better: a unique index in your database


@app.post("/hooks/enricher", status_code=204)
async def take(request: Request) -> None:
    try:
        said = webhook.verify(await request.body(), dict(request.headers))
    except WebhookVerificationError:
        raise HTTPException(401) from None
    event = request.headers["webhook-id"]
    if event not in seen:  # the same event may be posted twice
        print(event, said["data"]["lead"], said["data"]["status"], flush=True)
        seen.add(event)
