"""The baseline: the least that FastAPI does for a POST with a validated JSON body. No database, no queue."""

import sys
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

app = FastAPI()


class Params(BaseModel):
    model_config = ConfigDict(extra="forbid")
    prompt: str = ""
    width: int = 512
    height: int = 512


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    task_type: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)
    params: Params = Field(default_factory=Params)
    model: str | None = Field(None, max_length=200)
    priority: Literal["low", "normal", "high"] = "normal"
    metadata: dict[str, Any] = Field(default_factory=dict, max_length=50)


@app.post("/task", status_code=202)
async def accept(body: Body) -> dict[str, bool]:
    return {"ok": True}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False)
